"""Whether a user's own runs go on from their checkpoints exactly."""

from typedloops.verification.places import Place as Place
from typedloops.verification.report import ResumeDifference as ResumeDifference
from typedloops.verification.report import ResumeReport as ResumeReport
from typedloops.verification.verify import verify_resume as verify_resume
