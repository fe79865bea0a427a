"""The diagrams of the course: one module a diagram, drawn in both languages by tools/draw_diagrams.py."""
