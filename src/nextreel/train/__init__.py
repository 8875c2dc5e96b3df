"""Training: ratings in; an evaluated, stored model out."""
