"""The checks behind `tfrs_dhe.serving.verify`, one file for each kind."""
