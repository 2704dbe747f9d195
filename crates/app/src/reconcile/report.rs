//! What `reconcile` says of what it found.

use longshore_core::reconcile::Fault;
use serde_json::{Value, json};

use super::objects::Objects;
use super::pass::Pass;
use crate::render::harmless;

pub(super) fn as_text(pass: &Pass, objects: Option<&Objects>, running: bool, faults: &[Fault]) -> String {
    let counts = &pass.counts;
    let mut lines = vec![format!(
        "checked {} events with {} attachments: {} stored, {} failed rows, {} dead letters; {} records in flight{}",
        counts.events,
        counts.accepted,
        counts.stored,
        counts.failed,
        counts.dead_letters,
        pass.in_flight,
        if running { ", a process works on them" } else { "" },
    )];
    lines.extend(objects.map(|o| {
        let read = if o.bytes_read > 0 { format!(", {} bytes read", o.bytes_read) } else { String::new() };
        let unclaimed = if o.unclaimed > 0 {
            format!("; {} have no row yet, which is right while something is in flight", o.unclaimed)
        } else {
            String::new()
        };
        let letters = if o.originals > 0 { format!(" and {} dead letters", o.originals) } else { String::new() };
        format!("checked the objects of {} rows{letters}{read}, and {} objects{unclaimed}", o.rows, o.objects)
    }));
    lines.push(match faults.len() {
        0 => "no faults".to_owned(),
        1 => "1 fault".to_owned(),
        many => format!("{many} faults"),
    });
    for of_kind in faults.chunk_by(|a, b| a.kind == b.kind) {
        let kind = of_kind[0].kind;
        lines.push(format!("\n{kind} ({}): {}", of_kind.len(), kind.remedy()));
        lines.extend(of_kind.iter().map(|fault| {
            let id = fault.id.map(|id| format!("{id}  ")).unwrap_or_default();
            format!("  {id}{}", harmless(&fault.place))
        }));
    }
    lines.extend(objects.map(|o| &o.orphans).filter(|orphans| !orphans.is_empty()).map(|orphans| {
        let head = format!(
            "\n{} objects without a row; no fault, nothing is lost or doubled: remove them if nobody needs them",
            orphans.len()
        );
        let names = orphans.iter().map(|path| format!("\n  {}", harmless(path)));
        std::iter::once(head).chain(names).collect()
    }));
    lines.join("\n")
}

pub(super) fn as_json(pass: &Pass, objects: Option<&Objects>, running: bool, faults: &[Fault]) -> Value {
    let fault = |fault: &Fault| {
        json!({
            "kind": fault.kind.as_str(),
            "id": fault.id.map(|id| id.to_string()),
            "place": fault.place,
            "remedy": fault.kind.remedy(),
        })
    };
    let objects =
        objects.map(|o| json!({ "rows": o.rows, "dead_letters": o.originals, "bytes_read": o.bytes_read, "objects": o.objects, "unclaimed": o.unclaimed, "orphans": o.orphans }));
    let counts = &pass.counts;
    json!({
        "ok": faults.is_empty(),
        "running": running,
        "in_flight": pass.in_flight,
        "checked": {
            "events": counts.events,
            "attachments": counts.accepted,
            "stored": counts.stored,
            "failed": counts.failed,
            "dead_letters": counts.dead_letters,
            "objects": objects,
        },
        "faults": faults.iter().map(fault).collect::<Vec<_>>(),
    })
}
