"""Qt and pyqtgraph pieces: value in, signal out. They know no store, no engine and no files."""
