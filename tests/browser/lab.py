"""A JupyterLab server, a page of a real Chromium on it, and a line to the kernel."""

import contextlib
import functools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import jupyter_client
import nbformat
from playwright.sync_api import TimeoutError as PageTimeoutError
from playwright.sync_api import sync_playwright

from tests import waiting

ROOT = pathlib.Path(__file__).parents[2]
# Each look asks the page or the kernel.
wait_for = functools.partial(waiting.wait_for, pause=0.05)
PANEL = ".jp-OutputArea-output .widget-vbox"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_ALL_HAVE_RUN = """() => {
    const cells = jupyterapp.shell.currentWidget.content.widgets
        .filter(cell => cell.model.type === "code");
    return cells.every(cell => cell.model.executionCount)
        || cells.some(cell => cell.model.outputs.toJSON()
            .some(output => output.output_type === "error"));
}"""
_NONE_RUNS = """() => {
    const panel = jupyterapp.shell.currentWidget;
    return panel.sessionContext.session.kernel.status === "idle"
        && panel.content.widgets.every(cell => !cell.model.executionCount);
}"""
_KERNEL_IS_READY = """() => {
    const kernel = jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""
_RESTART = """async () => {
    const panel = jupyterapp.shell.currentWidget;
    await panel.sessionContext.session.kernel.restart();
    await jupyterapp.commands.execute("notebook:clear-all-cell-outputs");
}"""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser():
    """Returns the path of Chromium or Chrome; RuntimeError where there is none."""
    named = os.environ.get("WORKBENCH_BROWSER")
    for name in [named] if named else _BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    raise RuntimeError(
        "No Chromium was found; install Debian's package `chromium`, or name one in "
        "the environment variable WORKBENCH_BROWSER."
    )


class Lab:
    """JupyterLab on a folder of notebooks, seen through one page.

    Args:
        folder: Path that the server shows and writes into.
        search_path: Folders that the server and its kernels import from first.
    """

    def __init__(self, folder, search_path=()):
        self.folder = folder
        self.requests = []
        self._search_path = [*map(str, search_path), str(ROOT)]
        self._search_path += os.environ.get("PYTHONPATH", "").split(os.pathsep)
        self._stack = contextlib.ExitStack()
        self._runtime = folder / ".jupyter" / "runtime"

    def __enter__(self):
        try:
            self._start_server()
            self._start_page()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def _start_server(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        home = self.folder / ".jupyter"
        folders = {
            f"JUPYTER_{name}_DIR": str(home / name.lower())
            for name in ("CONFIG", "DATA", "RUNTIME")
        }
        log = self._stack.enter_context((self.folder / "server.log").open("wb"))
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            f"--config={ROOT / 'jupyter_lab_config.py'}",
            *(f"--ServerApp.port={port}", "--IdentityProvider.token="),
            f"--ServerApp.root_dir={self.folder}",
            *("--LabApp.expose_app_in_browser=True", "--ServerApp.allow_origin=*"),
        ]
        environment = (
            os.environ
            | folders
            | {"PYTHONPATH": os.pathsep.join(filter(None, self._search_path))}
        )
        environment.pop("PYTEST_CURRENT_TEST", None)
        server = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, cwd=self.folder
        )
        self._stack.callback(_end, server)
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/api", timeout=1).close()  # noqa: S310
            except OSError:
                if time.monotonic() > end or server.poll() is not None:
                    text = (self.folder / "server.log").read_text()
                    raise RuntimeError(f"JupyterLab did not start:\n{text}") from None
                time.sleep(0.1)
            else:
                return

    def _start_page(self):
        playwright = self._stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        self._stack.callback(browser.close)
        self.page = browser.new_page(viewport={"width": 1280, "height": 1000})
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.set_default_timeout(60_000)

    def open(self, name):
        """Opens a notebook and waits until its kernel is there and idle."""
        self.page.goto(f"{self.url}/lab/tree/{name}?reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        # Cells run sooner would meet the dialog that asks for a kernel.
        self.page.wait_for_function(_KERNEL_IS_READY)

    def run_all(self, seconds=180):
        """Runs all cells; waits until each has run, or one has failed."""
        end = time.monotonic() + seconds
        self.command("notebook:run-all-cells")
        while True:
            try:
                self.page.wait_for_function(_ALL_HAVE_RUN, timeout=10_000)
                break
            except PageTimeoutError:
                if time.monotonic() > end:
                    raise
                # Now and then a page that is still being laid out drops the command.
                if self.page.evaluate(_NONE_RUNS):
                    self.command("notebook:run-all-cells")
        self.page.wait_for_function(_KERNEL_IS_READY)

    def run_notebook(self, name, *sources):
        """Writes a notebook of code cells, opens it, and runs it without an error."""
        cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
        # Without a kernel's name JupyterLab asks for one.
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata.kernelspec = kernel
        nbformat.write(notebook, self.folder / name)
        self.open(name)
        self.run_all()
        assert self.errors() == []

    def restart_kernel(self):
        """Restarts the kernel and clears the page, as on the next day."""
        self.page.evaluate(_RESTART)
        self.page.wait_for_function(_KERNEL_IS_READY)

    def command(self, name):
        """Executes a command of JupyterLab, such as "kernelmenu:interrupt"."""
        self.page.evaluate(f"void jupyterapp.commands.execute({json.dumps(name)})")

    def errors(self):
        """Returns the texts of the error outputs on the page."""
        outputs = self.page.query_selector_all(
            '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"],'
            '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]'
        )
        return [output.inner_text() for output in outputs]

    def evaluate(self, expression):
        """Evaluates a Python expression in the notebook's kernel.

        Args:
            expression: str, whose value JSON can carry.

        Returns:
            The value.
        """
        path = max(self._runtime.glob("kernel-*.json"), key=lambda p: p.stat().st_mtime)
        client = jupyter_client.BlockingKernelClient(connection_file=str(path))
        client.load_connection_file()
        # Only what carries the answer: waiting for the rest takes half a second.
        client.start_channels(iopub=False, stdin=False, hb=False)
        try:
            code = f"__import__('json').dumps({expression})"
            reply = client.execute(
                "", user_expressions={"value": code}, reply=True, timeout=60
            )
        finally:
            client.stop_channels()
        value = reply["content"]["user_expressions"]["value"]
        if value["status"] != "ok":
            raise RuntimeError(f"{value['ename']}: {value['evalue']}")
        return json.loads(eval(value["data"]["text/plain"]))  # noqa: S307, a repr of str

    def requests_outside(self):
        """Returns the addresses that were asked for and are not this server's."""
        own = (self.url, "data:", "blob:", "ws://127.0.0.1")
        return [url for url in self.requests if not url.startswith(own)]

    def show(self, name):
        """Takes a picture with the first panel at the top of the page."""
        self.page.locator(PANEL).first.evaluate("node => node.scrollIntoView()")
        self.screenshot(name)

    def screenshot(self, name):
        """Takes a picture of the page, where WORKBENCH_SCREENSHOTS names a folder."""
        folder = os.environ.get("WORKBENCH_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=pathlib.Path(folder) / f"{name}.png")


def button(place, name):
    """Returns the button of a name in a part of the page."""
    return place.get_by_role("button", name=name)


def copy_notebook(name, folder, *, until=None, extra=(), replace=()):
    """Copies a notebook of the project for a test.

    Args:
        name: str, file name in `notebooks/`.
        folder: Path of the folder to copy to.
        until: str; cells after the first code cell that holds it are left out.
        extra: Iterable of str, code cells put at the end.
        replace: Pair of str, what every code cell has in place of what.
    """
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    if until is not None:
        last = next(
            i
            for i, cell in enumerate(notebook.cells)
            if cell.cell_type == "code" and until in cell.source
        )
        notebook.cells = notebook.cells[: last + 1]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in extra]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
            if replace:
                cell.source = cell.source.replace(*replace)
    nbformat.write(notebook, folder / name)


def _end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
