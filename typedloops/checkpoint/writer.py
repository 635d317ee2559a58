class Writer:
    def __init__(self, wake=lambda: None):
        pass

    def write(self, format_, path, content, when_written):
        format_.save(path, content)
        if when_written:
            when_written(path)

    write_later = write

    def poll(self):
        pass

    def finish(self):
        pass
