"""JupyterLab for the workbench: nothing is fetched from outside, no news, no nags."""

c = get_config()  # noqa: F821, defined by Jupyter
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.collaborative = False
c.LabApp.extension_manager = "readonly"
