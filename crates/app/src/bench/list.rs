//! `longshore bench list`.

use anyhow::Result;
use longshore_bench::model::{Asker, Good, Load, Target, Tier};
use longshore_bench::suite::{SUITE, Spec};
use serde_json::{Value, json};

use crate::{exit, render};

pub(super) fn run(json: bool) -> Result<u8> {
    if json {
        render::print_json(&Value::Array(SUITE.iter().map(as_json).collect()))?;
    } else {
        let mut table = render::table(["benchmark", "load", "target", "from tier"]);
        table.add_rows(
            SUITE.iter().map(|spec| [spec.name.to_owned(), load(&spec.load(1.0)), targets(spec), tier(spec).to_owned()]),
        );
        render::print(table.trim_fmt())?;
    }
    Ok(exit::DONE)
}

fn as_json(spec: &Spec) -> Value {
    json!({
        "name": spec.name,
        "description": spec.description,
        "category": spec.category,
        "load": spec.load(1.0),
        "targets": spec.targets(),
        "workers": spec.workers(Tier::Release),
        "tier": tier(spec),
        "fast_scale": spec.is_in(Tier::Fast).then(|| spec.scale(Tier::Fast)),
    })
}

/// The first tier that has it.
fn tier(spec: &Spec) -> &'static str {
    match (spec.is_in(Tier::Fast), spec.is_in(Tier::Full)) {
        (true, _) => "fast",
        (false, true) => "full",
        (false, false) => "release",
    }
}

fn load(load: &Load) -> String {
    let rate = load.rate_per_s.map(|rate| format!(" at {rate:.0}/s")).unwrap_or_default();
    format!("{} {}{rate}", load.messages, load.of)
}

fn targets(spec: &Spec) -> String {
    let asked = spec.targets().into_iter().filter(|target| target.from == Asker::Requirement);
    asked.map(|target| one(&target)).collect::<Vec<_>>().join(", ")
}

fn one(target: &Target) -> String {
    let sign = match target.good {
        Good::AtLeast => "≥",
        Good::Below => "<",
        Good::AtMost => "≤",
    };
    let value = if target.metric.ends_with("_bytes") { format!("{} MB", target.value / 1e6) } else { target.value.to_string() };
    format!("{} {sign} {value}", target.metric)
}
