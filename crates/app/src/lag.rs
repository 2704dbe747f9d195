//! `longshore lag`: how far every stage is behind, in messages and in seconds.

use anyhow::Result;
use longshore_core::time::Micros;
use longshore_stages::ports::LogView;
use serde_json::{Value, json};

use crate::chain::{self, Standing};
use crate::cli::LagArgs;
use crate::exit;
use crate::place::{Lane, Place};
use crate::render::{self, Printed};
use crate::walk::Moment;

pub(crate) async fn run(args: LagArgs) -> Result<u8> {
    let place = Place::named(&args.place)?;
    let view = place.log_view()?;
    let look = async |before: &str| {
        let standings = lag(view.as_ref(), &place.lanes).await?;
        print(&standings, args.place.json, before)
    };
    if args.watch {
        render::every_second(look).await?;
    } else {
        look("").await?;
    }
    Ok(exit::DONE)
}

/// Where all stages of these sources stand as of now.
async fn lag(view: &dyn LogView, lanes: &[Lane]) -> Result<Vec<Standing>> {
    let moment = Moment::of(view).await?;
    let mut all = Vec::new();
    for lane in lanes {
        all.extend(chain::standings(view, &moment, lane, |_| true).await);
    }
    Ok(all)
}

fn print(standings: &[Standing], json: bool, before: &str) -> Result<Printed> {
    if json {
        return render::print(as_json(standings));
    }
    render::print(format!("{before}{}", as_text(standings)))
}

/// Records that wait for some stage; the age of the oldest of them.
fn total(standings: &[Standing]) -> (u64, Option<Micros>) {
    (standings.iter().map(Standing::waiting).sum(), standings.iter().filter_map(|one| one.oldest).max())
}

fn as_text(standings: &[Standing]) -> String {
    let mut table = render::table(["source", "stage", "topic", "partition", "committed", "end", "waiting", "oldest"]);
    table.add_rows(standings.iter().map(|one| {
        let named = [one.source.clone(), one.link.name.clone(), one.state.partition.topic.to_string()];
        let numbers = [u64::from(one.state.partition.index), one.committed, one.state.end, one.waiting()];
        let oldest = one.oldest.map(render::age).unwrap_or_default();
        named.into_iter().chain(numbers.map(|number| number.to_string())).chain([oldest]).collect::<Vec<_>>()
    }));
    let (waiting, oldest) = total(standings);
    let oldest = oldest.map(|oldest| format!(", the oldest for {}", render::age(oldest))).unwrap_or_default();
    format!("{}\n\ntotal: {waiting} waiting{oldest}", table.trim_fmt())
}

fn as_json(standings: &[Standing]) -> Value {
    let seconds = |micros: Option<Micros>| micros.map(|micros| micros as f64 / 1e6);
    let stage = |one: &Standing| {
        json!({
            "source": one.source,
            "stage": one.link.name,
            "topic": &*one.state.partition.topic,
            "partition": one.state.partition.index,
            "group": one.link.group,
            "committed": one.committed,
            "end": one.state.end,
            "waiting": one.waiting(),
            "seconds": seconds(one.oldest),
        })
    };
    let (waiting, oldest) = total(standings);
    json!({
        "stages": standings.iter().map(stage).collect::<Vec<_>>(),
        "total": { "waiting": waiting, "seconds": seconds(oldest) },
    })
}
