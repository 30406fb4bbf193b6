"""A window that shows the frames of a run as they come: `edgecv run --show`."""

from typing import TYPE_CHECKING

from PIL import Image

from edgecv.closing import Closing
from edgecv.errors import InputError, MissingDependencyError
from edgecv.stream.pipeline import StreamResult

if TYPE_CHECKING:
    import tkinter as tk


class Window(Closing):
    """A window for the main thread; `q`, Esc or its button closes it.

    Give `show` to `run_stream` as `on_result`: closing the window ends the run.

    Raises:
        MissingDependencyError: if Python was installed without tkinter.
        InputError: if there is no display.

    """

    def __init__(self, title: str = "edgecv") -> None:
        """Open an empty window."""
        try:
            import tkinter as tk  # noqa: PLC0415  # not on every machine

            from PIL import ImageTk  # noqa: PLC0415
        except ImportError as error:
            raise MissingDependencyError(
                "--show: tkinter is not installed. Install it with `apt install python3-tk`, "
                "or write a video with `-o out.mp4` instead."
            ) from error
        try:
            self._root = tk.Tk()
        except tk.TclError as error:
            raise InputError(
                f"--show: there is no display to open a window on ({error}). "
                "Set DISPLAY, or write a video with `-o out.mp4` instead."
            ) from error
        self._photo_image = ImageTk.PhotoImage
        self._photo: ImageTk.PhotoImage | None = None
        self._label = tk.Label(self._root, borderwidth=0)
        self._label.pack()
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self._leave)
        for key in ("<KeyPress-q>", "<Escape>"):
            self._root.bind(key, self._leave)
        self.is_open, self._is_destroyed = True, False

    def show(self, result: StreamResult) -> bool:
        """Show a result's frame; return whether the window is still open."""
        if not self.is_open:
            return False
        image = Image.fromarray(result.frame.to_array("rgb24"))
        image.thumbnail((self._root.winfo_screenwidth(), self._root.winfo_screenheight()))
        self._photo = self._photo_image(image)  # Tk keeps no reference of its own
        self._label.configure(image=self._photo)
        self._root.update()  # draws, and runs the key bindings
        return self.is_open

    def close(self) -> None:
        """Destroy the window; twice does no harm."""
        self.is_open = False
        self._photo = None  # before the interpreter that owns it
        if not self._is_destroyed:
            self._is_destroyed = True
            self._root.destroy()

    def _leave(self, event: "tk.Event[tk.Misc] | None" = None) -> None:  # noqa: ARG002
        self.is_open = False
