//! `longshore dlq replay`: dead letters back into the chain, each in its next life.
//!
//! *Owns*: which letters, how fast, and the count of what became of them. *Does not own*: what a letter becomes (core), who
//! has the log: nobody (a directory at rest), a fetch (`--retry-failed`) or a service, which is asked over HTTP.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use indicatif::HumanCount;
use longshore_core::replay::{self, NotReplayed, Replay, UnderWay};
use longshore_stages::ports::{Clock, Log, LogView, PartitionState, Store, SystemClock};
use serde::{Deserialize, Serialize};

use super::args::{LetterArgs, ReplayArgs};
use super::going::Going;
use super::letters::{Entry, Filter, Wanted};
use super::survey::{Standing, Survey};
use super::under_way;
use crate::cli::PolicyArgs;
use crate::client::Client;
use crate::config::{self, DEFAULT_FILE, Http, Purpose};
use crate::exit;
use crate::open_log::OpenLog;
use crate::originals;
use crate::place::{Lane, Place, Tables};
use crate::render;
use crate::settings;

/// The most letters that a service replays for one request. Each request reads all dead letters, so there are few.
const ASKED: u64 = 20_000;
/// About how long a service replays for one request.
const ASKED_SECONDS: u64 = 20;
/// The most IDs that may be given.
const IDS: usize = 10_000;

/// Which letters are replayed, and how: what a request to a service says, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wish {
    /// Offsets or media ids; none for whatever the filter keeps.
    pub(crate) ids: Vec<String>,
    pub(crate) filter: LetterArgs,
    /// Count only.
    pub(crate) dry_run: bool,
    /// At most this many a second.
    pub(crate) rate: Option<u32>,
    /// From this offset on.
    pub(crate) from: u64,
    /// Only letters before this offset; without it, those that there are at the beginning. What fails again while
    /// letters are replayed lies after it, so that a replay in pieces ends.
    pub(crate) until: Option<u64>,
    /// At most about this many, if not 0.
    pub(crate) limit: u64,
}

impl Wish {
    /// The same within what a service does for one request, in less than its client waits.
    pub(crate) fn bounded(self) -> Result<Self> {
        if self.ids.len() > IDS {
            bail!("{} IDs are too many: at most {IDS}", self.ids.len());
        }
        self.ids.iter().try_for_each(|id| Wanted::parse(id).map(drop))?;
        Filter::of(&self.filter, SystemClock.now())?;
        let most = self.rate.map_or(ASKED, |rate| ASKED.min(u64::from(rate.max(1)) * ASKED_SECONDS));
        let limit = if self.limit == 0 { most } else { self.limit.min(most) };
        Ok(Wish { limit, ..self })
    }

    /// What is left of it after a piece; nothing where that was the last one.
    fn after(&self, report: &Report) -> Option<Self> {
        Some(Wish { from: report.next?, until: self.until.or(report.until), ..self.clone() })
    }
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Report {
    pub(crate) dry_run: bool,
    /// Letters that go, or would go, through the chain again.
    pub(crate) replayed: u64,
    /// Not replayed: the attachment is stored, or the event could be read since.
    pub(crate) stored: u64,
    /// Not replayed: it failed again in a later life.
    pub(crate) superseded: u64,
    /// Not replayed: its next life is under way.
    pub(crate) under_way: u64,
    /// Not replayed: the policy refuses it as before; by the sentence that says why.
    pub(crate) still_refused: BTreeMap<String, u64>,
    /// Not replayed, and never will be; by the sentence that says why.
    pub(crate) not_replayable: BTreeMap<String, u64>,
    /// IDs that no dead letter has.
    pub(crate) unknown: Vec<String>,
    /// Where to go on, if the limit was reached.
    pub(crate) next: Option<u64>,
    /// The letters before this offset were looked at: to be said again where it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<u64>,
}

impl Report {
    fn add(&mut self, other: Report) {
        self.replayed += other.replayed;
        self.stored += other.stored;
        self.superseded += other.superseded;
        self.under_way += other.under_way;
        for (mine, theirs) in [(&mut self.still_refused, other.still_refused), (&mut self.not_replayable, other.not_replayable)] {
            for (why, count) in theirs {
                *mine.entry(why).or_default() += count;
            }
        }
        // Only what no piece and no source knows.
        self.unknown.retain(|id| other.unknown.contains(id));
    }

    fn is_whole(&self) -> bool {
        self.still_refused.is_empty() && self.not_replayable.is_empty() && self.unknown.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (did, count) = (if self.dry_run { "Would replay" } else { "Replayed" }, HumanCount);
        write!(f, "{did} {}", count(self.replayed))?;
        let mut left = |n: u64, why: &str| if n > 0 { write!(f, "\n  skipped {}: {why}", count(n)) } else { Ok(()) };
        left(self.stored, "stored meanwhile, or read")?;
        left(self.superseded, "failed again in a later life")?;
        left(self.under_way, "replayed before and still under way")?;
        for (why, n) in &self.still_refused {
            left(*n, &format!("still refused: {}", render::harmless(why)))?;
        }
        for (why, n) in &self.not_replayable {
            left(*n, why)?;
        }
        left(self.unknown.len() as u64, &format!("no such dead letter: {}", self.unknown.join(", ")))
    }
}

/// Replays letters of one source; `log` is the one that the view looks at, `store` has what is too large for it.
pub(crate) async fn replay(
    view: &dyn LogView,
    log: Option<&dyn Log>,
    lane: &Lane,
    tables: &Tables,
    store: Option<&dyn Store>,
    wish: &Wish,
) -> Result<Report> {
    let filter = Filter::of(&wish.filter, SystemClock.now())?;
    let wanted = wish.ids.iter().map(|id| Wanted::parse(id)).collect::<Result<Vec<_>>>()?;
    // In this order: what ends between the two looks has a letter that the second one sees.
    let under_way = under_way::look(view, lane).await?;
    let states = Survey::states(view, lane).await?;
    let until = wish.until.unwrap_or_else(|| end_of(&states));
    let mut survey = Survey::part(view, &states, tables, wish.from..until).await?;
    let mut going = Going::new(log.filter(|_| !wish.dry_run), lane, wish.rate);
    let report = Report { dry_run: wish.dry_run, until: Some(until), ..Report::default() };
    let mut replayer = Replayer { lane, wanted, filter, under_way, report };
    'letters: while let Some(entries) = survey.next().await? {
        for (entry, standing) in entries {
            let offset = entry.offset;
            if let Some(entry) = replayer.take(entry, standing)
                && let Some(replay) = replayer.judged(entry.whole(store).await?)
            {
                going.send(replay).await?;
            }
            if wish.limit > 0 && replayer.report.replayed >= wish.limit {
                replayer.report.next = Some(offset + 1);
                break 'letters;
            }
        }
    }
    going.flush().await?;
    Ok(replayer.end())
}

/// The end of the dead letters; there is one partition.
fn end_of(states: &[PartitionState]) -> u64 {
    states.iter().map(|state| state.end).max().unwrap_or(0)
}

struct Replayer<'a> {
    lane: &'a Lane,
    wanted: Vec<Wanted>,
    filter: Filter,
    under_way: UnderWay,
    report: Report,
}

impl Replayer<'_> {
    /// The letter, if it is to go through the chain again; why not is counted.
    fn take(&mut self, entry: Entry, standing: Standing) -> Option<Entry> {
        let mut named = false;
        let mut by_offset = false;
        for one in self.wanted.iter_mut().filter(|one| one.means(&entry)) {
            (one.found, named) = (true, true);
            by_offset |= one.is_offset();
        }
        if !(named || self.wanted.is_empty()) || !self.filter.keeps(&entry) {
            return None;
        }
        match standing {
            Standing::Settled => self.report.stored += 1,
            Standing::Superseded if !by_offset => self.report.superseded += 1,
            Standing::Open | Standing::Superseded if self.is_under_way(&entry) => self.report.under_way += 1,
            Standing::Open | Standing::Superseded => return Some(entry),
            Standing::Unreadable if entry.letter.is_some() => return Some(entry),
            Standing::Unreadable => self.never("it cannot be read: `longshore dlq show` with its offset".to_owned()),
        }
        None
    }

    fn is_under_way(&self, entry: &Entry) -> bool {
        let life = entry.letter.as_ref().map_or(0, |letter| letter.life);
        entry.subject().is_some_and(|subject| self.under_way.after(subject, life))
    }

    /// What goes through the chain again for this letter.
    fn judged(&mut self, entry: Entry) -> Option<Replay> {
        match replay::replay(&self.lane.source, entry.letter?, &entry.headers) {
            Ok(replay) => {
                self.report.replayed += 1;
                return Some(replay);
            }
            Err(NotReplayed::StillRefused(failure)) => {
                // One sentence for each reason: those of single URLs would be as many as there are letters.
                *self.report.still_refused.entry(format!("{} ({})", failure.class, failure.reason)).or_default() += 1;
            }
            Err(NotReplayed::NotReplayable(why)) => self.never(why.to_owned()),
        }
        None
    }

    fn never(&mut self, why: String) {
        *self.report.not_replayable.entry(why).or_default() += 1;
    }

    fn end(mut self) -> Report {
        self.report.unknown = self.wanted.into_iter().filter(|one| !one.found).map(|one| one.text).collect();
        self.report
    }
}

pub(super) async fn run(args: &ReplayArgs) -> Result<u8> {
    let wish = wish(args).context(exit::Usage)?;
    let way = Way::choose(args)?;
    let mut whole = Report { dry_run: args.dry_run, unknown: wish.ids.clone(), ..Report::default() };
    match &way.http {
        Some(http) => ask(http, &way, &wish, &mut whole).await?,
        None => directly(&way, &wish, &mut whole).await?,
    }
    if args.place.json {
        render::print(serde_json::to_string(&whole)?)?;
    } else {
        render::print(&whole)?;
        if whole.replayed > 0 && !whole.dry_run && way.http.is_none() {
            render::print(format!("Next: {}", way.next))?;
        }
    }
    Ok(if whole.is_whole() { exit::DONE } else { exit::FOUND })
}

fn wish(args: &ReplayArgs) -> Result<Wish> {
    if args.ids.is_empty() && args.filter == LetterArgs::default() && !args.all {
        bail!("name dead letters by ID, choose them by a filter (--host, --class, --reason, --older, --newer), or say --all");
    }
    if args.all && !args.ids.is_empty() {
        bail!("--all and IDs exclude each other");
    }
    if args.ids.len() > IDS {
        bail!("{} IDs are too many: at most {IDS}; or choose by a filter", args.ids.len());
    }
    args.ids.iter().try_for_each(|id| Wanted::parse(id).map(drop))?;
    Filter::of(&args.filter, SystemClock.now())?;
    let (ids, filter, dry_run, rate) = (args.ids.clone(), args.filter.clone(), args.dry_run, args.rate);
    Ok(Wish { ids, filter, dry_run, rate, ..Wish::default() })
}

/// Where the letters are, and who has the log.
struct Way {
    place: Place,
    /// The service that has it.
    http: Option<Http>,
    /// What does the replayed tasks.
    next: String,
}

impl Way {
    fn choose(args: &ReplayArgs) -> Result<Self> {
        let default = Path::new(DEFAULT_FILE);
        let file = match (&args.place.to, &args.place.config) {
            (None, None) if default.exists() => Some(default),
            (_, file) => file.as_deref(),
        };
        match file {
            Some(file) => Self::configured(file, args),
            None => Self::batch(args),
        }
    }

    fn configured(file: &Path, args: &ReplayArgs) -> Result<Self> {
        if args.policy != PolicyArgs::default() {
            let wrong = format!("the policy is that of {}: leave out the policy flags", file.display());
            return Err(anyhow::Error::msg(wrong).context(exit::Usage));
        }
        let place = Place::named(&args.place)?;
        let http = config::load(file, Purpose::Look).context(exit::Configuration)?.http;
        let held = place.log.writer()?.is_some();
        Ok(Way { place, http: held.then_some(http), next: format!("longshore run -c {}", file.display()) })
    }

    fn batch(args: &ReplayArgs) -> Result<Self> {
        let mut place = Place::named(&args.place)?;
        let lanes = place.definitions()?.into_iter().filter(|one| place.lanes.iter().any(|lane| lane.name() == one.name));
        place.lanes =
            lanes.map(|one| settings::source(&one, &args.policy).map(Lane::of)).collect::<Result<_>>().context(exit::Usage)?;
        let next = format!("longshore fetch --to {}", place.root.display());
        Ok(Way { place, http: None, next })
    }

    /// The sources that are meant: offsets are those of one.
    fn lanes(&self, wish: &Wish) -> Result<&[Lane]> {
        let offsets = wish.ids.iter().any(|id| id.parse::<u64>().is_ok());
        if offsets {
            self.place.only().context(exit::Usage)?;
        }
        Ok(&self.place.lanes)
    }
}

async fn directly(way: &Way, wish: &Wish, whole: &mut Report) -> Result<()> {
    let view = way.place.log_view()?;
    let log = if wish.dry_run { None } else { Some(OpenLog::open(&way.place.log)?) };
    let store = originals::objects(&way.place)?;
    for lane in way.lanes(wish)? {
        let tables = way.place.open_tables(lane).await?;
        let to = log.as_ref().map(OpenLog::log);
        whole.add(replay(view.as_ref(), to.as_deref(), lane, &tables, store.as_deref(), wish).await?);
    }
    if let Some(log) = log {
        log.close().await?;
    }
    Ok(())
}

/// Over HTTP, in pieces that a service answers within its time.
async fn ask(http: &Http, way: &Way, wish: &Wish, whole: &mut Report) -> Result<()> {
    let mut client = Client::new(http);
    for lane in way.lanes(wish)? {
        let mut wish = wish.clone().bounded()?;
        loop {
            let path = format!("/v1/dlq/{}/replay", lane.name());
            let answer = client.post(&path, &[("content-type", "application/json")], serde_json::to_vec(&wish)?.into()).await?;
            if !answer.status.is_success() {
                bail!("{}", answer.refusal());
            }
            let report: Report = serde_json::from_value(answer.body).context("the service's answer is no report")?;
            let next = wish.after(&report);
            whole.add(report);
            match next {
                Some(next) => wish = next,
                None => break,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
