"""`paidiff serve`: pictures over HTTP, in the WebUI's shape and in the platform's.

schemas (what is asked and answered) <- routes (a request into a job of the engine, a job into an answer),
security (who may ask, and how much, before anything is read) <- run (one call that runs it all).
"""
