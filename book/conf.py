"""Sphinx's settings for both editions; tools/build_book.py writes what they are made of and names the language."""

import gettext
import importlib.util
import logging
from pathlib import Path

from sphinx.config import Config
from sphinx.locale import get_translator
from sphinx.search.zh import SearchChinese

FONTS = {  # the reader's own; in English no Chinese font first, its quotation marks are wide
    "zh_CN": "'Noto Sans CJK SC', 'Noto Sans SC', 'PingFang SC', 'Microsoft YaHei', system-ui, sans-serif",
    "en": "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', 'Noto Sans CJK SC', sans-serif",
}

project = "paidiff"
extensions = ["myst_nb"]
templates_path = ["templates"]
nitpicky = True  # a reference to something that is not there is a fault
nitpick_ignore_regex = [("py:.*", r"(?!paidiff_).*")]  # those of other libraries are not in this book
maximum_signature_line_length = 80
python_display_short_literal_types = True

nb_execution_mode = "off"  # the notebooks have their outputs
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]

html_theme = "furo"
html_static_path = [
    "static",
    str(Path(importlib.util.find_spec("mathjax").origin).parent / "static/mathjax/es5/tex-svg.js"),
]
html_css_files = ["book.css"]
html_show_sphinx = html_show_copyright = False
html_copy_source = False
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b4f8a", "color-brand-content": "#0b4f8a"},
    "dark_css_variables": {"color-brand-primary": "#7db8f0", "color-brand-content": "#7db8f0"},
}
if tags.has("print"):  # noqa: F821  # Sphinx defines it
    html_theme, html_theme_options, html_sidebars = "basic", {"nosidebar": True}, {}
    html_css_files = ["print.css"]
mathjax_path = "tex-svg.js"  # one file: no fonts, no other host
mathjax3_config = {"options": {"enableMenu": False}}  # the menu would fetch its parts


WORDS = {
    "Next": "下一页",
    "Previous": "上一页",
    "On this page": "本页",
    "Back to top": "回到顶部",
    "Made with ": "主题 ",
}
logging.getLogger("jieba").setLevel(logging.WARNING)  # it tells how long it takes to load


class Furo(gettext.NullTranslations):
    """The theme's few words, of which it has no Chinese."""

    def gettext(self, message):
        return WORDS.get(message, message)


def in_one_language(app, config: Config):
    """What differs between the editions, and for the one page that is printed."""
    zh = config.language == "zh_CN"
    config.html_title = "paidiff：中文文生图" if zh else "paidiff: Chinese text-to-image"
    config.html_context = {"other": ("en", "English") if zh else ("zh", "中文"), "lang": "zh" if zh else "en"}
    config.nb_code_prompt_show = "显示代码" if zh else "Show the code"
    config.nb_code_prompt_hide = "收起代码" if zh else "Hide the code"
    config.html_theme_options.get("light_css_variables", {})["font-stack"] = FONTS[config.language]
    if zh:
        config.html_search_options = {"dict": str(Path(app.srcdir) / "words.txt")}  # the glossary's, for jieba
        config.html_js_files = ["search-zh.js"]
        get_translator().add_fallback(Furo())


def setup(app):
    SearchChinese.language_name = (
        "English"  # its stemmer's; else Sphinx 9.0 asks for one that is not there (issue 14229)
    )
    app.connect("config-inited", in_one_language)
