"""Every key of the store, and how long it lives. These names are fixed: data outlives code.

    {pNN}:…     everything of the customers of one partition: one slot of a Redis Cluster
    {iNN}:…     answers kept for whoever asks again, spread by the digest of their key
    {limen}:…   the directory of tenants, keys and secrets: small, read often, one slot
    {t:…}:…     what a tenant has asked for of late: not a record, and gone within minutes

A customer is named by the keyed digest of their id, a token by its SHA-256, a tenant's reference
by its keyed digest: no key name tells who somebody is.
"""

from serve.domain.ids import PARTITIONS, Mode, Subject

OPERATION_KEPT_MS = 24 * 3_600_000
EVENT_KEPT_MS = 30 * 24 * 3_600_000
ALERT_KEPT_MS = 365 * 24 * 3_600_000
CAPTURE_KEPT_MS = 30 * 24 * 3_600_000
IDEMPOTENCY_KEPT_MS = OPERATION_KEPT_MS + 600_000  # its operation is forgotten before it is
IDENTITY_REVOKED_KEPT_MS = 30 * 24 * 3_600_000
AUDIT_KEPT_MS = 365 * 24 * 3_600_000
ERASURE_KEPT_MS = 10 * 365 * 24 * 3_600_000  # proof that it happened; it names nobody

ENDED_MAX = 1_024  # of a partition, about
ENDED_KEPT_MS = 600_000  # longer than any door is behind and still serves
PARKED_KEPT_MS = 15_000

INSTALL = "{limen}:install"
TENANTS = "{limen}:tenants"
WAKE_OUTBOX = "{limen}:wake:outbox"  # publish/subscribe channels, not keys
WAKE_JOBS = "{limen}:wake:jobs"

IDEMPOTENCY_SLOTS = 64
EVERY_PARTITION = range(PARTITIONS)
EVERY_SESSION = "{p[0-9][0-9]}:session:*"  # a pattern


def _in(partition: int, name: str) -> str:
    return f"{{p{partition:02d}}}:{name}"


def locator(subject: Subject) -> str:
    """How a record names its customer: `tenant:mode:subject key`."""
    return subject.locator


def located(text: str) -> Subject:
    """The subject that a record names."""
    return Subject.located(text)


def customer(subject: Subject) -> str:
    """Hash: `v` version, `k` wrapped data key, `d` sealed document, `f:<face>` log entries."""
    return customer_key(subject.partition, subject.key)


def customer_key(partition: int, key: str) -> str:
    """The same, by what a locator ends in; with an empty `key` what all of them begin with."""
    return _in(partition, f"customer:{key}")


def owned(subject: Subject) -> str:
    """ZSET of the other keys that hold this customer's data, by when they expire, ms."""
    return _in(subject.partition, f"owned:{subject.key}")


def confirmed(partition: int) -> str:
    """STRING without a value, written so that a WAIT behind it covers what came before."""
    return _in(partition, "confirmed")


def customers(partition: int) -> str:
    """ZSET of locators by time of creation, ms."""
    return _in(partition, "customers")


def faces(partition: int) -> str:
    """STREAM, the log of faces: `k` enrol or erase, `u` locator, `f` face, `m` model, `l` the list
    it is on (absent: enrolled), `d` sealed template.
    """
    return _in(partition, "faces")


def faces_tail(partition: int) -> str:
    """STRING: the id of the log's last entry, written with it."""
    return _in(partition, "faces:tail")


def verification(partition: int, verification_id: str) -> str:
    """HASH: `u` locator, `d` sealed document."""
    return _in(partition, f"verification:{verification_id}")


def flag(partition: int, flag_id: str) -> str:
    """HASH: `u` locator, `d` sealed document of a duplicate flag."""
    return _in(partition, f"flag:{flag_id}")


def block(partition: int, block_id: str) -> str:
    """HASH: `u` locator, `d` sealed document of a blocked face."""
    return _in(partition, f"block:{block_id}")


def screening(partition: int, screening_id: str) -> str:
    """HASH: `u` locator, `d` sealed document, `fence` number of claims so far."""
    return _in(partition, f"screening:{screening_id}")


def screenings(partition: int) -> str:
    """ZSET of screening ids by when they may be claimed, ms."""
    return _in(partition, "screenings")


def sweep(partition: int, sweep_id: str) -> str:
    """HASH: `u` its world, `tenant:mode`; `k` wrapped data key, of its own; `d` sealed document;
    `s` status; `x` when all of it goes and `at` when it was asked for, ms; `v` how often its data
    key was wrapped anew. `hf`, `hu`, `ht`: who may plan or end it, until when, and by which
    asking; `by` the last who did; `c` and `pf`: fences of tiles, and where those of the plan begin;
    `td`, `cp`, `mt`, `fd`, `bm`, `cf`: what the tiles came to, added up; `e` when it was canceled,
    ms.
    """
    return _in(partition, f"sweep:{sweep_id}")


def sweep_part(partition: int, sweep_id: str, part: str) -> str:
    """What belongs to a sweep, and goes when it does; sealed where it tells of anybody.

    `plan`     STRING: how it was cut
    `tiles`    ZSET of tiles that are not done, `row-column`, by when they may be claimed, ms
    `claims`   HASH: by tile the fence of its last claim, and how many counted
    `done`     HASH: by tile, under which fence its results are, and in how many parts
    `results`  HASH: the parts, by `row-column:fence:number`
    `report`   HASH: what it came to, in pages: `pairs:0`, `tail:0`, `rings:0`, …, `calibration`,
               and `meta`, how many there are
    """
    return _in(partition, f"sweep:{sweep_id}:{part}")


def sweep_operation(partition: int, world: str, op_id: str) -> str:
    """STRING: the id of the sweep that an operation asked for."""
    return _in(partition, f"sweep.op:{world}:{op_id}")


def sweep_newest(partition: int, kind: str, world: str) -> str:
    """HASH: `id` of a world's newest sweep that is `whole`, whose rings are the tenant's, or that
    `calibrated`; `at` when that was asked for, ms.
    """
    return _in(partition, f"sweep.{kind}:{world}")


def sweeps(partition: int) -> str:
    """ZSET of ids of sweeps that are not over, by when they were asked for, ms."""
    return _in(partition, "sweeps")


def sweeps_kept(partition: int) -> str:
    """ZSET of ids of all sweeps, by when they go, ms: whose data keys there are."""
    return _in(partition, "sweeps:kept")


def identity(partition: int, token_sha256: str) -> str:
    """STRING: the locator of the customer whose reusable identity token this is."""
    return _in(partition, f"identity:{token_sha256}")


def shard(name: str) -> str:
    """STRING: what a holder of the index tells of itself, JSON; it names nobody."""
    return f"{{limen}}:shard:{name}"


SHARDS_WISH = "{limen}:shards"  # STRING: how many shards operators asked for; absent or 0: any
REBUILD_WISH = "{limen}:rebuild"  # STRING: how often operators asked that the index be rebuilt


def chip(partition: int, face_id: str) -> str:
    """STRING: the sealed aligned face."""
    return _in(partition, f"chip:{face_id}")


def session(partition: int, session_id: str) -> str:
    """HASH: `u` locator, `d` sealed document."""
    return _in(partition, f"session:{session_id}")


def capture(partition: int, session_id: str) -> str:
    """STRING: the sealed capture of a session under review."""
    return _in(partition, f"capture:{session_id}")


def handoff(partition: int, token_sha256: str) -> str:
    """STRING: the hand-off record, JSON without personal data."""
    return _in(partition, f"handoff:{token_sha256}")


def ended(partition: int) -> str:
    """STREAM, what ends streams of frames: `u` locator; `s` session and `w` its status; `n` the
    newer stream, by its digest, and `r` the digest of the one that it goes on with. Without `s` the
    customer was erased. The newest thousand or so; a log that nobody adds to goes after 10 minutes.
    """
    return _in(partition, "ended")


def parked(partition: int, name: str) -> str:
    """STRING: a sealed stream of frames without a connection, for 15 s."""
    return _in(partition, f"parked:{name}")


def alert(partition: int, alert_id: str) -> str:
    """HASH: `u` locator, `d` sealed document."""
    return _in(partition, f"alert:{alert_id}")


def event(partition: int, event_id: str) -> str:
    """HASH: `u` locator, `d` sealed document, `fence` number of claims so far, `o` the operation
    that had it sent again last.
    """
    return _in(partition, f"event:{event_id}")


def outbox(partition: int) -> str:
    """ZSET of event ids by next attempt, ms."""
    return _in(partition, "outbox")


def job(partition: int, job_id: str) -> str:
    """HASH: `u` locator, `h` header, `d` sealed image."""
    return _in(partition, f"job:{job_id}")


def jobs(partition: int) -> str:
    """ZSET of job ids by when they may be claimed, ms."""
    return _in(partition, "jobs")


def jobs_bytes(partition: int) -> str:
    """STRING: bytes of all waiting images of the partition."""
    return _in(partition, "jobs_bytes")


def deadlines(partition: int) -> str:
    """ZSET of session ids by when time alone moves them, ms."""
    return _in(partition, "deadlines")


def operation(subject: Subject, op_id: str) -> str:
    """STRING: the sealed answer of an operation that was carried out on this customer."""
    return _in(subject.partition, f"op:{subject.key}:{op_id}")


def erasure(partition: int, erasure_id: str) -> str:
    """STRING: a receipt, JSON that names nobody."""
    return _in(partition, f"erasure:{erasure_id}")


def erased(subject: Subject) -> str:
    """STRING: when a customer was erased, ms, for as long as who asked before may ask again."""
    return _in(subject.partition, f"erased:{subject.key}")


def erasures(partition: int) -> str:
    """ZSET of receipts with open steps, by when the next is due, ms."""
    return _in(partition, "erasures")


def customer_sessions(subject: Subject, reference_digest: str = "") -> str:
    """ZSET of a customer's session ids by creation, ms; all, or those of one reference."""
    return _in(subject.partition, f"sessions:{subject.key}:{reference_digest}")


def listing(partition: int, kind: str, tenant_id: str, mode: Mode) -> str:
    """ZSET of a tenant's ids of one kind by creation, ms: `alerts`, `alerts.open`, `events`,
    `sessions`, `verifications`, `blocklist`, `sweeps`, `sweeps.active`.
    """
    return _in(partition, f"list:{kind}:{tenant_id}:{mode}")


def counts(partition: int, tenant_id: str, mode: Mode) -> str:
    """HASH of the tenant's overview."""
    return _in(partition, f"counts:{tenant_id}:{mode}")


def idempotency(digest: str) -> str:
    """HASH: `p` fingerprint, `s` running, free or done, `c` who claimed it, `b` when somebody first
    did and `t` end of the lease, ms; when done `d` the sealed answer, `u` whose key it is sealed
    under (locator) or else `k` its own wrapped key.
    """
    return f"{{i{int(digest, 16) % IDEMPOTENCY_SLOTS:02d}}}:idem:{digest}"


def audit(partition: int, tenant_id: str, mode: Mode) -> str:
    """STREAM, the trail of a tenant's customers: `a` action, `w` actor, `t` target, `o` outcome,
    `n` count, `c` subject key. An entry stays when its customer is erased. Entries older than 365
    days go with the next that is added, in whole blocks of about a hundred; a stream that nobody
    adds to goes as a whole after as long.
    """
    return _in(partition, f"audit:{tenant_id}:{mode}")


def audit_beside(tenant_id: str, mode: Mode | None) -> str:
    """STREAM, the same of what concerns no customer: a tenant in one world, in both, or, with an
    empty id, the install.
    """
    return ":".join(("{limen}:audit", *filter(None, (tenant_id, mode))))


def tenant(tenant_id: str) -> str:
    """STRING: a tenant, JSON."""
    return f"{{limen}}:tenant:{tenant_id}"


def tenant_operation(op_id: str) -> str:
    """STRING: a tenant, JSON, as an operation left it."""
    return f"{{limen}}:op:{op_id}"


def api_key(key_id: str) -> str:
    """STRING: the record of an API key, JSON."""
    return f"{{limen}}:key:{key_id}"


def api_keys(tenant_id: str) -> str:
    """SET of a tenant's key ids."""
    return f"{{limen}}:keys:{tenant_id}"


def gone(tenant_id: str) -> str:
    """SET of keyed digests of the callback URLs that answered 410 Gone, or that only
    failed for five days.
    """
    return f"{{limen}}:gone:{tenant_id}"


def outage(tenant_id: str, digest: str) -> str:
    """STRING: since when a callback URL, by its keyed digest, only fails; JSON."""
    return f"{{limen}}:outage:{tenant_id}:{digest}"


def secrets(tenant_id: str) -> str:
    """STRING: a tenant's signing secrets, sealed under the master key."""
    return f"{{limen}}:secrets:{tenant_id}"


def secrets_label(tenant_id: str) -> str:
    """What they are sealed with."""
    return f"secrets|{tenant_id}"


def quota(tenant_id: str, mode: Mode, quota_class: str) -> str:
    """STRING: when the bucket of this class will be empty, µs; kept until a minute after."""
    return f"{{t:{tenant_id}}}:quota:{mode}:{quota_class}"


def quota_leases(tenant_id: str, mode: Mode) -> str:
    """ZSET of submissions that are judged now, by when their lease runs out, ms."""
    return f"{{t:{tenant_id}}}:leases:{mode}"


def quota_factor(tenant_id: str) -> str:
    """STRING: how many times what the settings say this tenant may ask for; absent means 1."""
    return f"{{t:{tenant_id}}}:quota_factor"
