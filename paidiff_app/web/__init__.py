"""`paidiff web`: the models' own WebUI as a page that works on a laptop without a network. Gradio.

page (the fields and where they stand) <- handlers (what a button does, by the fields' names) <- app (the server).
"""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: it would ask its makers for news
