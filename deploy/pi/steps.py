"""The steps of a deployment, forward and back.

Each may be cut off anywhere and be done again: what is under way is in the journal before it begins, and what is
there is asked of docker and the database, never remembered.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from deploy.pi.env_file import faults
from deploy.pi.journal import Journal, Step
from deploy.pi.layout import DeployError, Release, sync_folder
from deploy.pi.schema import check_way, knowledge, reach, revision
from deploy.pi.stack import SMOKE_SECONDS, CommandFailed, Stack

STORES = ("postgres", "redis")
API_URL = "http://api:8000"


@dataclass(slots=True)
class Deployment:
    """One deployment and what it acts on. `previous` is None for the first of a machine."""

    journal: Journal
    stack: Stack
    target: Release
    previous: Release | None
    irreversible: bool = False
    smoke_seconds: int = SMOKE_SECONDS

    def forward(self) -> None:
        """All steps up to the new release in use. Raises `DeployError` where one fails."""
        self._take_settings()
        self._verify()
        self._drain()
        self._dump()
        self._migrate()
        self._start()
        self._smoke()
        with self.journal.step("switch", "Switching to the new release"):
            self.journal.layout.use(self.target.id)
        self.finish()

    def finish(self) -> None:
        """What is left once the new release is in use: to let it trade. Raises `DeployError`."""
        with self.journal.step("lift", "Letting it trade as before") as step:
            step.says = self.stack.ask(self.target, "release", "lift", self.journal.id).strip()
        before = self.journal.layout.env_before(self.target.id)
        if before.is_file():
            os.replace(before, before.with_name(".env.before"))
        self.journal.end("deployed")

    def back(self, fault: str) -> None:
        """Everything as it was before. May be begun again at any point. Raises `DeployError` where it cannot be."""
        journal = self.journal
        if journal.phase != "back":
            journal.phase, journal.fault = "back", journal.fault or fault
            journal.save()
            journal.say(f"FAILED: {journal.fault}")
        self._settings_back()
        if not self._changed():
            self._tidy()
            journal.say("nothing had been changed; what ran before still runs")
            journal.end("failed")
        elif self.previous is None:
            self._clean_away()
            journal.end("failed")
        else:
            self._return_to(self.previous)
            journal.end("rolled back")

    # forward

    def _take_settings(self) -> None:
        """Put the settings that were sent with the release in place of the machine's, which are kept beside them."""
        layout = self.journal.layout
        new, env = layout.env_new(self.target.id), layout.env
        if self.journal.kind != "deploy" or not new.is_file():
            return
        if env.is_file():
            try:
                # a second name, then another file under the first: no cut leaves none, or a half
                os.link(env, layout.env_before(self.target.id), follow_symlinks=False)
            except PermissionError:
                raise DeployError(
                    f"{env} belongs to somebody else: `sudo chown $USER {env}` there, then deploy again"
                ) from None
        os.replace(new, env)
        sync_folder(env.parent)
        self.journal.say(f"{env} is the one that was sent")

    def _verify(self) -> None:
        journal, stack, target = self.journal, self.stack, self.target
        with journal.step("verify", "Checking the release against this machine") as step:
            facts = journal.facts
            # before anything of docker's is begun, for compose makes volumes where it only asks
            facts.volumes, facts.containers = stack.volumes(target.project), bool(stack.containers(target.project))
            if self.previous is not None:
                facts.acted = any(not one.oneoff for one in stack.acting(self.previous))
            journal.save()
            self._check_env()
            if not stack.has_image(target):
                raise DeployError(f"image {target.image} is not on this machine; deploy it again, which sends it")
            stack.check_files(target)
            stack.fetch_images(target)
            knows = {target.id: knowledge(stack, target)}
            if self.previous is not None:
                knows[self.previous.id] = knowledge(stack, self.previous)
                stack.start(self.previous, *STORES)
                facts.revision = revision(stack, self.previous)
            else:
                self._check_nobody_runs()
                if f"{target.project}_postgres" in facts.volumes:
                    stack.start(target, *STORES)
                    facts.revision = revision(stack, target)
            facts.known = {name: list(one.known) for name, one in knows.items()}
            before = knows.get(self.previous.id) if self.previous else None
            step.says = check_way(facts.revision, knows[target.id], before, self.irreversible)

    def _check_env(self) -> None:
        env = self.journal.layout.env
        if not env.is_file():
            raise DeployError(f"{env} is missing; `make deploy-pi` sends .env.pi or .env on the first deployment")
        if wrong := list(faults(env.read_text(encoding="utf-8", errors="replace"))):
            raise DeployError(f"{env} cannot be read: {'; '.join(wrong)}")

    def _check_nobody_runs(self) -> None:
        if running := self.stack.acting(self.target):
            names = ", ".join(sorted({one.service for one in running}))
            raise DeployError(f"{names} run here, of no release: stop them first with `make down` where they came from")

    def _drain(self) -> None:
        with self.journal.step("drain", "No new orders; letting what runs end") as step:
            if self.previous is None:
                step.says = "nothing runs yet"
                return
            self.stack.ask(self.previous, "release", "hold", self.journal.id)
            step.says = f"{self.stack.stop_all(self.target)} processes have ended"

    def _dump(self) -> None:
        with self.journal.step("dump", "Dumping the database") as step:
            facts = self.journal.facts
            if facts.revision is None:
                step.says = "there is nothing to dump yet"
                return
            used = self.previous or self.target
            facts.orders = self.stack.orders(used)
            facts.dump = self.stack.backup(used, "make", "--label", "pre-deploy").rpartition("\n")[2]
            if not Path(facts.dump).is_file():
                raise DeployError(f"the backup says {facts.dump!r}, which is no file; nothing was changed")
            step.says = f"{facts.dump}, {Path(facts.dump).stat().st_size / 1e6:.1f} MB"

    def _migrate(self) -> None:
        facts, target = self.journal.facts, self.target
        facts.migrating = True
        with self.journal.step("migrate", "Migrating the database") as step:
            # a restore that was under way starts again whom it had stopped
            self.stack.stop_all(target)
            self.stack.up(target, *STORES)
            step.says = reach(self.stack, facts.known[target.id][-1], self._releases(), facts.known)
            if self.previous is None:
                # as on any other day: it trades once it has shown that it works
                self.stack.ask(target, "release", "hold", self.journal.id)

    def _start(self) -> None:
        with self.journal.step("start", "Starting the new release and waiting for health"):
            self.stack.stop_all(self.target)
            try:
                self.stack.up(self.target)
            except CommandFailed as error:
                unwell = self.stack.unhealthy(self.target)
                raise DeployError(f"the release does not get healthy: {error}\n{unwell}".rstrip()) from None

    def _smoke(self) -> None:
        with self.journal.step("smoke", "Trying it: a task through every queue, /readyz, an alert") as step:
            try:
                said = self.stack.ask(
                    self.target, "release", "smoke", "--url", API_URL, "--seconds", str(self.smoke_seconds)
                )
            except CommandFailed as error:
                raise DeployError(f"the release does not work: {error}") from None
            step.says = "\n" + said.rstrip()

    # back

    def _changed(self) -> bool:
        """Whether anything but a look was begun."""
        return any(step.name != "verify" for step in self.journal.steps)

    def _settings_back(self) -> None:
        """The settings of before, where this deployment has brought its own, which go in any case."""
        layout = self.journal.layout
        layout.env_new(self.target.id).unlink(missing_ok=True)
        before = layout.env_before(self.target.id)
        if before.is_file():
            os.replace(before, layout.env)
            # two names of one file are left as they are by that
            before.unlink(missing_ok=True)
            sync_folder(layout.env.parent)
            self.journal.say(f"{layout.env} is the one of before again")

    def _tidy(self) -> None:
        """Remove what a mere look has left on a machine that had nothing of ours."""
        facts, stack, target = self.journal.facts, self.stack, self.target
        # of a volume that may have been there nobody can tell what is in it
        if self.previous is None and facts.volumes == [] and facts.containers is False:
            stack.down(target)
            stack.remove_volumes(stack.volumes(target.project))

    def _return_to(self, previous: Release) -> None:
        journal, stack = self.journal, self.stack
        with journal.step("stop", "Stopping the new release") as step:
            step.says = f"{stack.stop_all(self.target)} processes have ended"
        with journal.step("schema back", "Bringing the database back to where it was") as step:
            stack.up(previous, *STORES)
            step.says = self._schema_back(previous)
        with journal.step("start again", f"Starting release {previous.id} again") as step:
            if not journal.facts.acted:
                # somebody had stopped it, and may know why
                step.says = f"it was stopped before, and stays so; {journal.layout.command('up')} starts it"
            else:
                self._start_again(previous, step)
        with journal.step("lift", "Letting it trade as before") as step:
            step.says = stack.ask(previous, "release", "lift", journal.id).strip()
        if journal.layout.current_id() != previous.id:
            journal.layout.use(previous.id)

    def _start_again(self, previous: Release, step: Step) -> None:
        try:
            self.stack.up(previous)
        except CommandFailed as error:
            # it goes on as it did before the deployment, well or not
            self.stack.start_anyhow(previous)
            step.says = f"it runs, but not all of it is healthy: {error}"

    def _schema_back(self, used: Release) -> str:
        """The schema of before; by going back, which keeps what was written since, or else by the dump."""
        facts = self.journal.facts
        if not facts.migrating or facts.revision is None:
            return "it was not touched"
        try:
            return reach(self.stack, facts.revision, self._releases(), facts.known)
        except DeployError as error:
            self.journal.say(f"the schema cannot go back: {error}")
        now = self.stack.orders(used)
        if not facts.dump or facts.orders is None or now != facts.orders:
            raise DeployError(
                f"the schema cannot go back, and the dump {facts.dump or '(none)'} cannot be put back without losing "
                f"orders: there were {facts.orders} and are {now}. All processes are stopped and nothing is lost; look "
                f"into the database, then {self.journal.layout.command('recover')}"
            )
        self.stack.put_back(used, facts.dump)
        return (
            f"restored from {facts.dump}; no order was written since. Trading is halted until `autotrader resume`, and "
            "no market is armed for real money until `autotrader arm`"
        )

    def _clean_away(self) -> None:
        """After the first deployment of a machine: as if it had not been."""
        journal, stack, target = self.journal, self.stack, self.target
        facts = journal.facts
        with journal.step("clean", "Removing what the first deployment has begun") as step:
            stack.stop_all(target)
            if facts.migrating and facts.revision is not None:
                stack.up(target, *STORES)
                self._lift_in_place()
                step.says = self._schema_back(target)
            fresh = [name for name in stack.volumes(target.project) if name not in (facts.volumes or [])]
            traded = stack.orders(target) if facts.migrating else 0
            stack.down(target)
            if facts.volumes == [] and traded == 0:
                stack.remove_volumes(fresh)
            elif facts.volumes is None or traded != 0:
                held = "an unknown number of" if traded is None else traded
                step.says += f" volumes kept, for they hold {held} orders: {', '.join(fresh)}"
        if journal.layout.current_id() == target.id:
            journal.layout.current.unlink()

    def _lift_in_place(self) -> None:
        """Take the deployment's own halt back; where the schema never came that far, there is none."""
        try:
            self.stack.ask(self.target, "release", "lift", self.journal.id)
        except CommandFailed as error:
            self.journal.say(f"its halt of trading may still be there: {error}")

    def _releases(self) -> list[Release]:
        return [self.target] if self.previous is None else [self.target, self.previous]
