"""`paidiff serve`: pictures over HTTP, in the WebUI's shape and in the platform's.

schemas (what is asked and answered) <- worker (the queue and the thread that owns the model) <- app (the routes),
guard (who may ask, and how much, before anything is read) <- server (one call that runs it all).
"""
