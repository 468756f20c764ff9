"The checks of the exercises, a module for each chapter: written by the notebooks in `nbs/solutions`."
