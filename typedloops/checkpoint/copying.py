class Staging:
    def copied(self, content):
        import copy

        return copy.deepcopy(content)
