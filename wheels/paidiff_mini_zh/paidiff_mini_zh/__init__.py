"""Weights and picture sets only: paidiff_lib.data_folder() finds the folder data/ beside this file."""
