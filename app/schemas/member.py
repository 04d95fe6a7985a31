"""The people of an account in JSON."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import Role
from app.schemas.base import Body, UserSchema
from app.schemas.choices import Choice
from app.schemas.fields import NOT_BLANK, Flag, Line, Moment, Text

_ROLE = "`viewer` reads, `member` works with runners, `admin` does everything. Tokens of the member never allow more."
_NAME = "The person's name."


class CreateMemberBody(Body):
    """A person who joins the account."""

    email = Text(320, least=3, required=True, metadata={"description": "The person's address, for one account only."})
    full_name = Line(200, least=1, validate=[NOT_BLANK], required=True, metadata={"description": _NAME})
    role = Choice(Role, load_default=Role.MEMBER, metadata={"description": _ROLE})


class UpdateMemberBody(Body):
    """What can be changed about a member."""

    full_name = Line(200, least=1, validate=[NOT_BLANK], metadata={"description": _NAME})
    role = Choice(Role, metadata={"description": _ROLE})
    disabled = Flag(metadata={"description": "Whether the member's tokens are refused."})


class MemberSchema(UserSchema):
    """A person of the account."""

    role = Choice(Role, required=True, metadata={"description": _ROLE})
    created_at = Moment(required=True)
    disabled_at = Moment(
        required=True, allow_none=True, metadata={"description": "Since when the member's tokens are refused, or null."}
    )


class NewMemberSchema(MemberSchema):
    """A member with the text of a first token, which is null in a replayed answer."""

    token = fields.String(required=True, allow_none=True)
