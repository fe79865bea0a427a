"""What people run: the command line, training commands, the page, the playground, the HTTP API, exported models."""


def open_model(name=None):
    """A pipeline to draw with, from any name or folder: also of `paidiff export`, which needs no torch. Raises PaidiffError."""
    from paidiff_lib.models.load import is_export, load, model_name

    if is_export(model_name(name)):
        from .onnx.runtime import OnnxPipeline

        return OnnxPipeline(model_name(name))
    return load(name)


def playground(model=None, loras=None):
    """Show the playground in a notebook and return it: see widgets.py."""
    from .widgets import playground as show

    return show(model, loras)
