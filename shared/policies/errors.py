"""Refusals that a policy decides. One class per code of contract 4 and 7."""

from shared.core.errors import DomainError


class UserBlocked(DomainError):
    code, status = "USER_BLOCKED", 403
    message = "You cannot enter this meeting."


class AnonymousNotAllowed(DomainError):
    code, status = "ANONYMOUS_NOT_ALLOWED", 403
    message = "Log in to enter this meeting."


class DomainNotAllowed(DomainError):
    code, status = "DOMAIN_NOT_ALLOWED", 403
    message = "This meeting is for e-mail addresses of certain domains."


class PasscodeRequired(DomainError):
    code, status, retryable = "PASSCODE_REQUIRED", 403, True
    message = "This meeting asks for a passcode."


class PasscodeInvalid(DomainError):
    code, status, retryable = "PASSCODE_INVALID", 403, True
    message = "The passcode is wrong."
    is_kept = True


class MeetingLocked(DomainError):
    code, status, retryable = "MEETING_LOCKED", 403, True
    message = "The meeting is locked."


class MaxParticipantsReached(DomainError):
    code, status, retryable = "MAX_PARTICIPANTS_REACHED", 403, True
    message = "The meeting is full."


class ChatDisabled(DomainError):
    code, status = "CHAT_DISABLED", 403
    message = "The host has switched chat off."


class ScreenShareDisabled(DomainError):
    code, status = "SCREEN_SHARE_DISABLED", 403
    message = "You may not share your screen in this meeting."


class ReactionsDisabled(DomainError):
    code, status = "REACTIONS_DISABLED", 403
    message = "Reactions are switched off in this meeting."


class HandRaiseDisabled(DomainError):
    code, status = "HAND_RAISE_DISABLED", 403
    message = "Raising hands is switched off in this meeting."


class FileSharingDisabled(DomainError):
    code, status = "FILE_SHARING_DISABLED", 403
    message = "Sharing files is switched off in this meeting."
