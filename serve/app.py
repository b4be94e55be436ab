"""Composition root: settings to adapters. Nothing else decides which adapter is used."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence
from pipeline.face.compare import ScoreScale
from pipeline.face.steps import FacePipeline, Plan
from pipeline.image.header import Limits
from pipeline.models.cache import ModelCache
from pipeline.models.load import LoadedPack, read_scale
from serve.deps import Deps
from serve.domain.quota import Policy, Quota
from serve.inference.absent import AbsentFaces
from serve.inference.fallback import FallbackFaces, FallbackIndex
from serve.inference.link.client import Limits as LinkLimits
from serve.inference.link.client import LinkedFaces
from serve.inference.link.index import LinkedIndex
from serve.inference.link.reach import Reach
from serve.inference.loading import open_pack, pack_options
from serve.inference.local import Limits as LocalLimits
from serve.inference.local import LocalFaces
from serve.inference.place import SOCKET, recorded
from serve.inference.search.absent import AbsentIndex
from serve.inference.search.holder import Limits as IndexLimits
from serve.inference.search.local import LocalIndex
from serve.observe import logs
from serve.ports import Comparator, FaceIndex, FaceLog, Faces, ShardBoard
from serve.settings import EngineKind, Settings, State
from serve.store.audit import RedisAudit
from serve.store.directory import RedisDirectory
from serve.store.erasures import RedisErasures
from serve.store.headroom import RedisHeadroom
from serve.store.install import open_install
from serve.store.intake.idempotency import RedisIdempotency
from serve.store.ledger import RedisLedger
from serve.store.link import Link, open_link
from serve.store.listings import RedisListings
from serve.store.liveness.endings import RedisEndings
from serve.store.liveness.parking import RedisParking
from serve.store.local.embedded import join_embedded
from serve.store.local.places import places
from serve.store.queues import RedisDeadlines, RedisJobs, RedisOutbox
from serve.store.quotas import RedisQuotas
from serve.store.search.blocklist import RedisBlocklist
from serve.store.search.board import RedisShardBoard
from serve.store.search.census import RedisFaceCensus
from serve.store.search.face_log import RedisFaceLog
from serve.store.search.flags import RedisFlags
from serve.store.search.screenings import RedisScreenings
from serve.store.search.verifications import RedisVerifications
from serve.store.sweeps.gallery_log import RedisGalleryLog
from serve.store.sweeps.sweeps import RedisSweeps
from serve.store.vault.epochs import RedisEpochs
from serve.store.vault.keyring import Keyring
from serve.store.vault.masters import RedisMasters
from serve.store.vault.tombstones import RedisTombstones

TOLD_EACH_S = 0.1
Replaying = Callable[[int, int], None]
"""Told how many entries of the log of faces the index has taken in, and of how many."""


@dataclass(frozen=True, slots=True)
class OpenedPipeline:
    """A pipeline ready to run in-process on `threads` worker threads."""

    pack: LoadedPack
    limits: Limits
    threads: int

    def run(self, images: Sequence[bytes], plan: Plan) -> list[FaceEvidence | Failure]:
        """Evidence or failure for each image, in order, on every worker thread."""
        share = -(-len(images) // self.threads) or 1
        parts = [images[start : start + share] for start in range(0, len(images), share)]
        with ThreadPoolExecutor(self.threads) as workers:
            done = list(workers.map(partial(self.faces.run, plan=plan), parts))
        return [outcome for part in done for outcome in part]

    @property
    def faces(self) -> FacePipeline:
        """Bytes in, evidence out."""
        return self.pack.faces

    @property
    def scale(self) -> ScoreScale:
        """The scale its templates are compared on."""
        return self.pack.scale

    @property
    def model_id(self) -> str:
        """The id every template of this pipeline carries."""
        return self.pack.scale.model_id


def open_cache(settings: Settings) -> ModelCache:
    """The model cache of these settings."""
    return ModelCache(settings.models.cache_dir)


def open_pipeline(settings: Settings) -> OpenedPipeline:
    """Load the packs in the cache. Raises what `load_faces` raises."""
    options = pack_options(settings)
    threads = settings.pipeline.threads or os.cpu_count() or 1
    return OpenedPipeline(open_pack(options), options.limits, threads)


@asynccontextmanager
async def open_deps(
    settings: Settings,
    *,
    with_models: bool = True,
    with_scale: bool = False,
    supervised: bool = False,
    replaying: Replaying | None = None,
) -> AsyncIterator[Deps]:
    """Everything the flows need, until the block ends.

    A command joins the embedded store, or starts it; a `supervised` process finds it running.
    Without models there is no index; `with_scale` says that templates are compared all the same.
    `replaying` is told how the index is made, where that is in this process.
    Raises what stops a start: `pack_missing`, `store_busy`, `keys_mismatch` and their like.
    """
    state = settings.state
    async with AsyncExitStack() as held:
        if not (supervised or state.redis_url):
            await held.enter_async_context(join_embedded(state.data_dir))
        link = open_link(state)
        held.push_async_callback(link.aclose)
        keyring = await open_install(link, state)
        is_linked = supervised and settings.engine.kind is not EngineKind.LOCAL
        opening = _link_models if is_linked else _open_models
        if with_models:
            models = await opening(settings, held)
        else:
            models = await _open_scale(settings) if with_scale else NO_MODELS
        deps = build_deps(link, keyring, settings, models)
        if with_models:
            index = await _open_index(settings, deps, held, models.reach, replaying)
            deps = replace(deps, index=index)
        yield deps


@asynccontextmanager
async def open_face_log(state: State) -> AsyncIterator[tuple[FaceLog, ShardBoard]]:
    """What a holder of the index is made over, in a process of its own, until the block ends.

    Raises what stops a start: `keys_mismatch`, `state_unavailable` and their like.
    """
    link = open_link(state)
    try:
        keyring = await open_install(link, state)
        yield RedisFaceLog(link, keyring), RedisShardBoard(link)
    finally:
        await link.aclose()


@dataclass(frozen=True, slots=True)
class Models:
    """What looks at faces, what compares them, and the id that its templates carry; and the
    engine, where it is one that does all this.
    """

    faces: Faces
    scale: Comparator
    model_id: str
    reach: Reach | None = None


NO_MODELS = Models(AbsentFaces(), AbsentFaces(), "")


def build_deps(link: Link, keyring: Keyring, settings: Settings, models: Models) -> Deps:
    """Every port over this Redis, these keys and these models."""
    state = settings.state
    return Deps(
        ledger=RedisLedger(
            link,
            keyring,
            settings.jobs.bytes_max,
            state.backup_retention_days,
            (state.replicas_min, state.replicas_wait_ms),
        ),
        listings=RedisListings(link, keyring),
        audit=RedisAudit(link, (state.replicas_min, state.replicas_wait_ms)),
        directory=RedisDirectory(link, keyring, (state.replicas_min, state.replicas_wait_ms)),
        outbox=RedisOutbox(link, keyring, (state.replicas_min, state.replicas_wait_ms)),
        jobs=RedisJobs(link, keyring),
        deadlines=RedisDeadlines(link),
        erasures=RedisErasures(link, None if state.redis_url else places(state.data_dir)),
        headroom=RedisHeadroom(link, state),
        idempotency=RedisIdempotency(link, keyring),
        epochs=RedisEpochs(link, keyring, state.backup_retention_days),
        masters=RedisMasters(link, keyring, state.backup_retention_days),
        tombstones=RedisTombstones(link, keyring.erased_folder),
        quotas=RedisQuotas(link),
        quota_policy=quota_policy(settings),
        faces=models.faces,
        index=AbsentIndex(),
        face_log=RedisFaceLog(link, keyring),
        face_census=RedisFaceCensus(link),
        shard_board=RedisShardBoard(link),
        screenings=RedisScreenings(link, keyring),
        flags=RedisFlags(link, keyring),
        blocklist=RedisBlocklist(link, keyring),
        verifications=RedisVerifications(link, keyring),
        sweeps=RedisSweeps(link, keyring, (state.replicas_min, state.replicas_wait_ms)),
        gallery_log=RedisGalleryLog(link, keyring),
        endings=RedisEndings(link),
        parking=RedisParking(link, keyring),
        scale=models.scale,
        model_id=models.model_id,
        random=secrets.token_bytes,
        pepper=keyring.pepper,
        public_base_url=settings.server.public_base_url.rstrip("/"),
        allow_http=settings.callbacks.allow_http,
    )


def quota_policy(settings: Settings) -> Policy:
    """What every tenant may ask for."""
    section = settings.quota
    return Policy(
        per_s={quota: float(getattr(section, f"{quota}_per_s")) for quota in Quota},
        burst_s=section.burst_s,
        test_share=section.test_share,
        inflight_submits_max=section.inflight_submits_max,
        timeout_s=settings.engine.timeout_s,
    )


async def _open_scale(settings: Settings) -> Models:
    """What compares templates, and nothing that makes them."""
    scale = await asyncio.to_thread(read_scale, open_cache(settings))
    return Models(AbsentFaces(), scale, scale.model_id)


async def _open_models(settings: Settings, held: AsyncExitStack) -> Models:
    """The models in this process."""
    opened = await asyncio.to_thread(open_pipeline, settings)
    await asyncio.to_thread(opened.faces.warm)
    limits = LocalLimits(opened.threads, settings.engine.queue_max, settings.engine.timeout_s)
    faces = await held.enter_async_context(LocalFaces(opened.faces, limits))
    return Models(faces, opened.scale, opened.model_id)


async def _link_models(settings: Settings, held: AsyncExitStack) -> Models:
    """The models in the engine, and in this process only what compares templates."""
    folder = recorded(settings.state.data_dir)
    assert folder is not None, "the supervisor makes the meeting place"
    scale = await asyncio.to_thread(read_scale, open_cache(settings))
    timeout_s = settings.engine.timeout_s
    reach = Reach(folder / SOCKET, timeout_s, model_id=scale.model_id)
    await held.enter_async_context(reach)
    linked = LinkedFaces(reach, LinkLimits(timeout_s))
    if not settings.engine.fallback:
        return Models(linked, scale, scale.model_id, reach)
    own = await _open_models(settings, held)
    return Models(FallbackFaces(linked, own.faces), scale, scale.model_id, reach)


async def _open_index(
    settings: Settings,
    deps: Deps,
    held: AsyncExitStack,
    reach: Reach | None,
    replaying: Replaying | None,
) -> FaceIndex:
    """The engine's index, or one here, once it knows every face that was enrolled so far; or both,
    where doors are to do without the engine.
    """
    section = settings.index
    linked = None if reach is None else LinkedIndex(reach, deps.shard_board, section.wait_s)
    if linked is not None and not settings.engine.fallback:
        return linked
    limits = IndexLimits(section.wait_s, section.queue_max, section.threads)
    index = LocalIndex(deps.face_log, deps.shard_board, limits)
    await held.enter_async_context(index)
    begun_s = time.monotonic()
    if replaying is not None:
        await _tell(index, await deps.face_census.entries(), replaying)
    await index.until_ready()
    (status,) = await index.statuses()
    seconds = round(time.monotonic() - begun_s, 3)
    logs.write("index replayed", count=status.replayed, seconds=seconds)
    return index if linked is None else FallbackIndex(linked, index)


async def _tell(index: LocalIndex, entries: int, replaying: Replaying) -> None:
    """Say how far `index` has come, until it is ready."""
    ready = asyncio.ensure_future(index.until_ready())
    while not ready.done():
        await asyncio.wait([ready], timeout=TOLD_EACH_S)
        (status,) = await index.statuses()
        replaying(min(status.replayed, entries), entries)
