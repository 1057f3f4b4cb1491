"""Figures and tables of the gallery, made from the registry whenever the documentation is built."""
