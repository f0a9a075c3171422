"""A candidate that has computed already: a folder of .npy files, a sub-folder a case."""

from pathlib import Path

from adntn_ref.errors import CandidateError

from ..case import Case
from .files import REQUEST, folder_of, inputs_changed, read_answer, read_request
from .verdicts import CALL, Answer, Fault, Part, Request, Verdict


class ResultsCandidate:
    """Files made before, as ``DIR/<case>/weight.npy`` and ``DIR/<case>/gradient/CORE.npy``.

    Parameters
    ----------
    folder : the folder DIR

    Raises
    ------
    CandidateError
        If there is no such folder, or no answer in it.
    """

    can_be_asked = False

    def __init__(self, folder: str | Path) -> None:
        self.name = str(folder)
        self._folder = Path(folder)
        if not self._folder.is_dir():
            raise CandidateError(f"there is no folder {folder}")
        answers = (p for name in ("weight", "gradient") for p in self._folder.rglob(f"{name}*"))
        if not any(path.suffix == ".npy" or any(path.glob("*.npy")) for path in answers):
            raise CandidateError(f"{folder} holds no results: no weight.npy and no gradient folder")

    def start(self, limit: float) -> None:
        """Do nothing: all is made."""

    def ask(self, request: Request, limit: float) -> Answer:
        """Read the files of a case."""
        folder = folder_of(self._folder, request.name)
        answer = read_answer(folder, request)
        if (folder / REQUEST).exists() and (changed := inputs_changed(folder, request)):
            # The program read other numbers than those that its answer is compared with.
            fault = Fault(CALL, Verdict.CHANGED, f"not the inputs of this case: {', '.join(changed[:3])}")
            answer[CALL] = Part(faults=(fault,))
        return answer

    def close(self) -> None:
        """Do nothing."""

    def own_cases(self) -> list[Case]:
        """Return the cases of all requests in the folder, the shipped ones and others, by their names in order."""
        return sorted((read_request(path) for path in self._folder.rglob(REQUEST)), key=lambda case: case.name)
