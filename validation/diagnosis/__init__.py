"""Diagnosis: which known mistake explains a wrong output.

A catalogue of mistakes that implementations make (:data:`MISTAKES`), an interpreter that can make them
(:func:`mistaken`), and a search for the one, or the two, that explain what a candidate gave (:func:`diagnose`).
``python -m adntn_ref.validation.diagnosis`` prints the catalogue.
"""

from .catalogue import MISTAKES
from .entry import Mistake
from .evidence import Observation
from .explain import Diagnosis, diagnose
from .hints import first_difference
from .model import mistaken
from .report import Explanation

__all__ = ["MISTAKES", "Diagnosis", "Explanation", "Mistake", "Observation", "diagnose", "first_difference", "mistaken"]
