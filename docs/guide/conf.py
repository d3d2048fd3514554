"""Sphinx's settings for the guide; docs/build_guide.py says which language."""

project = "sknorm"
author = "The sknorm developers"
copyright = "The sknorm developers, BSD-3-Clause"

extensions = ["myst_nb"]
exclude_patterns = ["_build"]

# Cells run while a page is read, so that its text can have their results in it: any
# expression, in {eval}`...`.
nb_execution_mode = "inline"
nb_eval_name_regex = ".+"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
# Nothing may be written to stderr: with warnings as errors it ends the build.
nb_output_stderr = "warn"
nb_merge_streams = True

html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["guide.css"]
html_theme_options = {"navigation_with_keys": True}
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
