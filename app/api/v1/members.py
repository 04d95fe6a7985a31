"""The people of the account: `/account/members`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app.api import examples, paging
from app.api.auth import caller
from app.api.blueprint import LIST_HEADERS, Blueprint, empty
from app.api.idempotency import idempotent
from app.api.presenters import RowView
from app.api.rate_limits import limited
from app.api.transactions import reading, writing
from app.schemas.base import PageQuery
from app.schemas.member import CreateMemberBody, MemberSchema, NewMemberSchema, UpdateMemberBody
from app.services.accounts import members
from app.services.accounts.members import MemberFields

blp = Blueprint("Members", __name__, description="The people of the account.", url_prefix="/api/v1/account/members")


@blp.route("")
class Members(MethodView):
    @reading
    @blp.operation("listMembers")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, MemberSchema(many=True), headers=LIST_HEADERS, example=[examples.MEMBER])
    def get(self, filters: dict[str, Any]) -> Any:
        """List the members of the account, oldest first.

        Disabled members are included.
        """
        page = members.find(caller(), filters)
        return page.items, paging.headers(page)

    @limited("tokens")
    @idempotent(secret="token")
    @blp.operation("createMember", conflict="`user_exists`")
    @blp.arguments(CreateMemberBody, example=examples.CREATE_MEMBER)
    @blp.response(201, NewMemberSchema, example={**examples.MEMBER, "token": "ar_..."})
    def post(self, fields: dict[str, Any]) -> Any:
        """Add a person to the account.

        Give them the token of this answer, which is not shown again. It allows what their role does.
        """
        user, text = members.create(caller(), **fields)
        return RowView(user, token=text), {"Location": paging.public_url(f"/account/members/{user.id}")}


@blp.route("/<uuid:member_id>")
class Member(MethodView):
    @reading
    @blp.operation("getMember")
    @blp.response(200, MemberSchema, example=examples.MEMBER)
    def get(self, member_id: uuid.UUID) -> Any:
        """Get a member.

        Members have the ids of users, which runners and sessions name.
        """
        return members.get(caller(), member_id)

    @writing
    @blp.operation("updateMember", conflict="`last_administrator`")
    @blp.arguments(UpdateMemberBody, example={"role": "viewer"}, required=False)
    @blp.response(200, MemberSchema, example=examples.MEMBER)
    def patch(self, fields: dict[str, Any], member_id: uuid.UUID) -> Any:
        """Change a member's name or role, or disable them.

        It holds from the next request on, for all of their tokens. One administrator has to be left.
        """
        return members.update(caller(), member_id, MemberFields(**fields))

    @writing
    @blp.operation("deleteMember", conflict="`last_administrator`")
    @blp.response(204)
    def delete(self, member_id: uuid.UUID) -> Response:
        """Remove a member.

        All of their tokens are revoked. They stay in the list, disabled, because runners name them.
        """
        members.remove(caller(), member_id)
        return empty(204)
