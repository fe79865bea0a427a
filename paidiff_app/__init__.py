"""What people run: the command line, training commands, the page, the playground, the HTTP API, exported models."""

PLAIN = (
    "这里没有 ipywidgets,用一行也能画 · no ipywidgets here; one line draws as well:\n"
    '  picture = paidiff.draw(pipe, "雪地里的两只企鹅", seed=1, steps=20)\n'
    "装上它就有界面 · for the fields: {install}"
)


def open_model(name=None):
    """A pipeline to draw with, from any name or folder: also of `paidiff export`, which needs no torch. Raises PaidiffError."""
    from paidiff_lib.models.load import is_export, load, model_name

    if is_export(model_name(name)):
        from .onnx.runtime import OnnxPipeline

        return OnnxPipeline(model_name(name))
    return load(name)


def playground(model=None, loras=None):
    """Show the playground (widgets.py) in a notebook and return it; without ipywidgets print how to draw, and return None.

    model: a name, a folder, or a pipeline. loras: a folder of LoRAs and Textual Inversions. Raises PaidiffError.
    """
    try:
        import ipywidgets  # noqa: F401
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        get_ipython = lambda: None
    if get_ipython() is None:
        from .install import install_command

        return print(PLAIN.format(install=install_command("notebooks")))
    from .widgets import Playground

    shown = Playground(model, loras)
    display(shown.view)
    return shown
