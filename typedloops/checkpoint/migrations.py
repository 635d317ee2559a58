CONTENT_VERSION = 1


def migrated(content):
    return content
