"""Media: files that clients upload to a signed address, and that are served again from one.

The bytes lie in a storage, a folder or a bucket, and never pass through memory whole. May not import Flask or Click.

    models, service     rows, and what may become of them; each change is in a transaction of the caller
    naming              what a file may be called, and the key under which its bytes lie
    links               signed addresses on this server
    storage             what a storage offers; `folder` and `bucket` are the two there are, `opening` chooses
    uploading           from the first byte to ready, with transactions of its own between the steps
    sniffing, pictures  is it what it says it is; variants of pictures
    decoder             decodes pictures, in a process of its own: nothing else may touch their insides
    cleaning            what housekeeping does
"""
