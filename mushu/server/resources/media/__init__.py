"""Media: files that clients upload to a signed address, and that are served again from one.

The bytes are kept in a storage, a folder or a bucket, and never pass through memory whole.
May not import Flask or Click.

    service.py          rows, and what may become of them; each change is in a transaction of the caller
    uploading.py        from the first byte to ready, and what housekeeping removes; its steps have transactions
    links.py            signed addresses on this server
    content_types.py    what a file is, and whether its bytes say so
    pictures.py         whether a picture is one, and its variants
    decoder.py          decodes pictures, in a process of its own: nothing else may touch their insides
    storage.py          what a storage offers; `folder.py` and `bucket.py` are the two there are
"""
