"""What a member says of the members, itself included."""

from __future__ import annotations

from raftkv.api.v2_members import encode_members
from raftkv.api.v3_cluster import wire_members
from raftkv.values import Member, MemberId, Membership
from tests.kit.one_member import OneMember


class Unpublished(OneMember):
    """It serves already, and the cluster has not been told where."""

    @property
    def membership(self) -> Membership:
        other = Member(MemberId(9), "", ("http://q",))
        return Membership(
            {MemberId(2): Member(MemberId(2), "", ("http://p",)), MemberId(9): other}
        )


def test_a_member_that_serves_names_itself_though_it_has_not_told_the_others_yet() -> None:
    host = Unpublished()
    rows = wire_members(host)  # type: ignore[arg-type]
    assert [(row.name, row.clientURLs) for row in rows] == [("m", ["http://c"]), ("", [])]
    assert b'"clientURLs":["http://c"]' in encode_members(host).replace(b" ", b"")  # type: ignore[arg-type]
