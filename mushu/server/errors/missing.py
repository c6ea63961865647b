"""It is not there, or the caller may not know that it is."""

from mushu.server.errors.base import MushuError


class NotFound(MushuError):
    code = "not_found"
    title = "There is no such thing"


class OrgNotFound(NotFound):
    code = "org_not_found"
    title = "There is no such organization"


class UserNotFound(NotFound):
    code = "user_not_found"
    title = "There is no such user"


class MemberNotFound(NotFound):
    code = "member_not_found"
    title = "There is no such member"


class KeyNotFound(NotFound):
    code = "key_not_found"
    title = "There is no such API key"


class TokenNotFound(NotFound):
    code = "token_not_found"
    title = "There is no such CLI token"


class UserCodeNotFound(NotFound):
    code = "user_code_not_found"
    title = "No program waits for this code"


class InvitationNotFound(NotFound):
    code = "invitation_not_found"
    title = "There is no such invitation"


class InvitationWithdrawn(InvitationNotFound):
    code = "invitation_withdrawn"
    title = "The invitation was withdrawn"


class DestinationNotFound(NotFound):
    code = "destination_not_found"
    title = "There is no such destination"


class TenantNotFound(NotFound):
    code = "tenant_not_found"
    title = "There is no such tenant"


class DeviceNotFound(NotFound):
    code = "device_not_found"
    title = "There is no such device"


class NotificationNotFound(NotFound):
    code = "notification_not_found"
    title = "There is no such notification"


class MediaNotFound(NotFound):
    code = "media_not_found"
    title = "There is no such media"


class LinkNotFound(NotFound):
    code = "link_not_found"
    title = "The link is not valid any more"
