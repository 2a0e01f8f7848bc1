"""Starts one window and prints when it is painted: `python first_pictures.py bare|qexplorer TIME_OF_START`.

Prints seconds since the start as JSON: `window`, and for qexplorer `sample`, when the sample's distribution is painted.
"""

import json
import sys
import time


def bare(started: float) -> dict[str, float]:
    """The least there is: a window of pyqtgraph with one curve."""
    import pyqtgraph as pg
    from painted import Painted

    app = pg.mkQApp()
    plot = pg.PlotWidget()
    plot.plot([0.0, 1.0, 2.0])
    plot.resize(1440, 900)
    times: dict[str, float] = {}

    def painted() -> None:
        times["window"] = time.time() - started
        app.quit()

    Painted(plot.viewport(), lambda: True).happened.connect(painted)
    plot.show()
    app.exec()
    return times


def program(started: float) -> dict[str, float]:
    """The program as a person starts it, with an eye on its window and on its Distribution plot."""
    from painted import Painted

    from qexplorer.cli import main
    from qexplorer.main_window import MainWindow
    from qexplorer.panels.distribution import DistributionPanel

    times: dict[str, float] = {}
    explored: list[object] = []
    show = MainWindow.show

    def shown(window: MainWindow) -> None:
        def painted() -> None:
            times.setdefault("window", time.time() - started)

        def drawn() -> None:
            times.setdefault("sample", time.time() - started)
            window.close()

        window.preview.analyzed.connect(explored.append)
        Painted(window, lambda: not times).happened.connect(painted)
        Painted(window.panel(DistributionPanel).plot.viewport(), lambda: bool(explored)).happened.connect(drawn)
        show(window)

    MainWindow.show = shown
    main([])
    return times


if __name__ == "__main__":
    print(json.dumps({"bare": bare, "qexplorer": program}[sys.argv[1]](float(sys.argv[2]))))
