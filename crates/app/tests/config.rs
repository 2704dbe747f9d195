//! Configurations as a new user would get them wrong: each gives one clear message with its place and its remedy.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use longshore::config::{ConfigErrors, Purpose, Ready, Surroundings, load_with};
use tempfile::TempDir;

/// A configuration that is right, four lines long.
const RIGHT: &str = "sources:\n  - name: xact\n    preset: xact\n    allow_hosts: [files.example.com]\n";

/// The right one with further keys of the source from line 5 on.
fn source(lines: &str) -> String {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("{RIGHT}{indented}")
}

/// The right one with further keys at the top from line 5 on.
fn top(lines: &str) -> String {
    format!("{RIGHT}{lines}\n")
}

/// The right one with a log on Kafka and a property of it in line 8.
fn kafka(property: &str) -> String {
    format!("{RIGHT}log: kafka://broker-1:9092\nkafka:\n  properties:\n    {property}\n")
}

/// The right one with a further source from line 5 on.
fn second(lines: &str) -> String {
    let indented: String =
        lines.lines().enumerate().map(|(n, l)| format!("  {} {l}\n", if n == 0 { '-' } else { ' ' })).collect();
    format!("{RIGHT}{indented}")
}

fn load_in(directory: &Path, text: &str, variables: &[(&str, &str)]) -> Result<Ready, ConfigErrors> {
    let file = directory.join("longshore.yaml");
    std::fs::write(&file, text).unwrap();
    let variables: BTreeMap<String, String> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    load_with(&file, Purpose::Run, Surroundings { variables, ..Surroundings::beside(&file) })
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Ready, ConfigErrors> {
    load_in(TempDir::new().unwrap().path(), text, variables)
}

/// The errors as `place: key: message`, the file's name left out.
fn errors(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let errors = load(text, variables).err().map(|e| e.errors).unwrap_or_default();
    errors.iter().map(|problem| problem.shown("").trim_start_matches(':').to_owned()).collect()
}

/// What is wrong, the text, `line:column: key`, and a phrase of the remedy.
type Case = (&'static str, String, &'static str, &'static str);

fn assert_each(cases: &[Case]) {
    let wrong = cases.iter().filter_map(|(what, text, place, says)| {
        let errors = errors(text, &[]);
        let right = |error: &String| error.starts_with(&format!("{place}: ")) && error.contains(says);
        let one = matches!(errors.as_slice(), [error] if right(error));
        (!one).then(|| format!("{what}: one error at {place} with '{says}' is expected:\n{text}\n{errors:#?}\n"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wrong_yaml() {
    let deep = format!("sources: {}{}\n", "[".repeat(20), "]".repeat(20));
    let bomb = (1..9).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let again = format!("*a{}", n - 1);
        format!("{text}a{n}: &a{n} [{}]\n", [again.as_str(); 9].join(", "))
    });
    let cases: [Case; 13] = [
        ("nothing in it", String::new(), "1:1: sources", "is missing; add sources:"),
        ("only a text", "hello\n".into(), "1:1", "write 'key: value' lines"),
        ("a list", "- a\n- b\n".into(), "1:1", "there is a list"),
        ("a quote without its other", "log: \"sqlite:x\nstore: y\n".into(), "1:6", "missing quote"),
        ("a bracket without its other", top("store: [a"), "6:1", "bracket"),
        ("a tab", "sources:\n\t- name: x\n".into(), "2:2", "indent with spaces"),
        ("a key without a colon", top("record\n"), "5:1", "missing ':'"),
        ("an alias of nothing", top("store: *files"), "5:8", "&name"),
        ("a star without quotes", source("").replace("[files.example.com]", "[*.example.com]"), "4:19", "in quotes"),
        ("two documents", top("---\nstore: x"), "5:1", "second document"),
        ("a tag", top("store: !Ref files"), "5:13", "YAML tags"),
        ("too deep", deep, "1:25", "deeper than"),
        ("a flood by aliases", bomb, "5:35", "with what aliases repeat"),
    ];
    assert_each(&cases);
}

#[test]
fn wrong_keys() {
    let cases: [Case; 14] = [
        ("a slip", source("max_sze: 1GiB"), "5:5: sources[0].max_sze", "did you mean max_size?"),
        ("a slip at the top", top("recrod: {}"), "5:1: recrod", "did you mean record?"),
        ("another spelling", source("maxRedirects: 3"), "5:5: sources[0].maxRedirects", "did you mean max_redirects?"),
        ("a flag's name", source("allow-host: [a.example]"), "5:5: sources[0].allow-host", "did you mean allow_hosts?"),
        ("a slip in a section", top("record: {freshnes: 1s}"), "5:10: record.freshnes", "did you mean freshness?"),
        ("another section's key", top("max_in_flight: 5"), "5:1: max_in_flight", "it belongs to"),
        ("no such thing", top("colour: red"), "5:1: colour", "known here are log, kafka, store"),
        ("a key twice", source("path: '{name}'\npath: '{host}/{name}'"), "6:5: path", "first in line 5"),
        ("a merge key", top("http:\n  <<: {listen: x}"), "6:3: http.<<", "merge keys are not supported"),
        (
            "no name",
            "sources:\n  - preset: xact\n    allow_hosts: [a.example]\n".into(),
            "2:5: sources[0].name",
            "is missing; add name: (for example xact)",
        ),
        (
            "no host list",
            "sources:\n  - name: xact\n    preset: xact\n".into(),
            "2:5: sources[0].allow_hosts",
            "for example allow_hosts:",
        ),
        ("neither preset nor map", RIGHT.replace("    preset: xact\n", ""), "2:5: sources[0]", "write preset: xact"),
        ("no sources", "sources: []\n".into(), "1:10: sources", "add a source"),
        ("no value", top("store:"), "5:6: store", "remove the line for the default"),
    ];
    assert_each(&cases);
}

#[test]
fn wrong_kinds() {
    let cases: [Case; 17] = [
        (
            "a text for a list",
            RIGHT.replace("[files.example.com]", "files.example.com"),
            "4:18: sources[0].allow_hosts",
            "expects a list",
        ),
        ("a list for a text", top("store: [a, b]"), "5:8: store", "expects a single value"),
        ("a map for a list", "sources:\n  xact: {preset: xact}\n".into(), "2:3: sources", "begin each with '- '"),
        ("a text for a section", top("record: 300ms"), "5:9: record", "with freshness, events_freshness, max_rows"),
        ("a text for a map", source("headers: 'Accept: a'"), "5:14: sources[0].headers", "Accept: application/pdf"),
        ("a list inside a list", source("allow_private: [[10.0.0.0/8]]"), "5:21: sources[0].allow_private[0]", "write one text"),
        ("yes", source("allow_http: yes"), "5:17: sources[0].allow_http", "write true or false"),
        ("no number", top("download: {max_in_flight: many}"), "5:27: download.max_in_flight", "not a whole number"),
        ("a fraction", top("download: {per_host: 1.5}"), "5:22: download.per_host", "not a whole number"),
        ("a negative number", source("max_redirects: -1"), "5:20: sources[0].max_redirects", "write one from 0 to 20"),
        ("a number out of bounds", source("max_redirects: 100"), "5:20: sources[0].max_redirects", "take 0 to 20"),
        ("no time", top("record: {freshness: fast}"), "5:21: record.freshness", "write for example 500ms"),
        ("a time without unit", top("shutdown_grace: 25"), "5:17: shutdown_grace", "5s, 10m or 1h"),
        ("too short a time", top("record: {freshness: 1ms}"), "5:21: record.freshness", "take 10ms to 1h"),
        ("no size", source("max_size: big"), "5:15: sources[0].max_size", "20MiB or 2GB"),
        ("no such preset", RIGHT.replace("preset: xact", "preset: exact"), "3:13: sources[0].preset", "did you mean xact?"),
        ("no such word", source("identity: signed"), "5:15: sources[0].identity", "did you mean unsigned?"),
    ];
    assert_each(&cases);
}

#[test]
fn wrong_values() {
    let refresh = |lines: &str| source(&format!("refresh:\n{}", lines.lines().map(|l| format!("  {l}\n")).collect::<String>()));
    let cases: [Case; 41] = [
        ("a name with capitals", RIGHT.replace("name: xact", "name: Xact"), "2:11: sources[0].name", "take small letters"),
        ("a topic with a space", source("topic: my events"), "5:12: sources[0].topic", "take letters, digits"),
        (
            "a URL for a host",
            RIGHT.replace("files.example.com", "'https://files.example.com/'"),
            "4:19: sources[0].allow_hosts[0]",
            "name the host alone",
        ),
        (
            "a star within",
            RIGHT.replace("files.example.com", "'files.*.com'"),
            "4:19: sources[0].allow_hosts[0]",
            "only at the beginning",
        ),
        ("no host at all", RIGHT.replace("[files.example.com]", "[]"), "4:18: sources[0].allow_hosts", "name the hosts"),
        (
            "no network",
            source("allow_private: [10.0.0.0/40]"),
            "5:21: sources[0].allow_private[0]",
            "write for example 10.0.0.0/8",
        ),
        ("no port", source("allow_ports: [70000]"), "5:19: sources[0].allow_ports[0]", "take 1 to 65535"),
        ("no extension", source("file_types: [pdf, image/png]"), "5:23: sources[0].file_types[1]", "write for example pdf"),
        ("any and more", source("file_types: [any, pdf]"), "5:18: sources[0].file_types[0]", "stands alone"),
        ("no status", source("transient_statuses: [200]"), "5:26: sources[0].transient_statuses[0]", "take 400 to 599"),
        ("falling delays", source("retry: [5m, 1m]"), "5:17: sources[0].retry[1]", "longer than the one before"),
        ("an unknown field in a path", source("path: '{claim}/{name}'"), "5:11: sources[0].path", "known are {host}"),
        ("a path without fields", source("path: files"), "5:11: sources[0].path", "try '{host}/{path}'"),
        ("a header that is ours", source("headers: {Host: a}"), "5:15: sources[0].headers.Host", "remove it"),
        ("a header with a space", source("headers: {X Key: a}"), "5:15: sources[0].headers.X Key", "not a header name"),
        ("a header with a break", source("headers: {X-Key: \"a\\nb\"}"), "5:22: sources[0].headers.X-Key", "one line"),
        ("a header twice", source("headers: {Accept: a, accept: b}"), "5:26: sources[0].headers.accept", "keep one"),
        (
            "the same name",
            second("name: xact\npreset: xact\nallow_hosts: [a.example]"),
            "5:11: sources[1].name",
            "choose another",
        ),
        (
            "the same topic",
            second("name: two\npreset: xact\ntopic: xact.events.raw\nallow_hosts: [a.example]"),
            "7:12: sources[1].topic",
            "the sources xact and two both take all",
        ),
        (
            "an inner topic",
            second("name: two\npreset: xact\ntopic: xact.downloads.dlq\nallow_hosts: [a.example]"),
            "7:12: sources[1].topic",
            "between the stages of the source xact",
        ),
        (
            "an inner topic of enriching",
            second("name: two\npreset: xact\ntopic: xact.events.retry.30s\nallow_hosts: [a.example]"),
            "7:12: sources[1].topic",
            "between the stages of the source xact",
        ),
        ("when without what", source("when: {equals: claim}"), "5:5: sources[0].when", "either header or field"),
        ("when with both", source("when: {header: a, field: b, equals: c}"), "5:5: sources[0].when", "either header or field"),
        ("when of nothing", source("when: {field: type, equals: []}"), "5:33: sources[0].when.equals", "name the values"),
        ("a log on Kafka without brokers", top("log: kafka://"), "5:6: log", "kafka://broker-1:9092,broker-2:9092"),
        ("a broker's port that is none", top("log: kafka://broker-1:90920"), "5:6: log", "names no brokers"),
        ("a setting of ours", kafka("acks: '1'"), "8:5: kafka.properties.acks", "may still be lost"),
        ("a setting that commits", kafka("enable.auto.commit: 'true'"), "8:5: kafka.properties.enable.auto.commit", "remove it"),
        (
            "a setting that nobody knows",
            kafka("sesion.timeout.ms: '6000'"),
            "8:5: kafka.properties.sesion.timeout.ms",
            "no such setting",
        ),
        (
            "a setting's value",
            kafka("session.timeout.ms: soon"),
            "8:5: kafka.properties.session.timeout.ms",
            "does not take this value",
        ),
        ("a level for a log", top("log: debug"), "5:6: log", "is set by LONGSHORE_TRACING"),
        ("another file for the log", top("log: sqlite:./lake/events.sqlite"), "5:6: log", "write sqlite:DIRECTORY/log.db"),
        ("kafka without Kafka", top("kafka: {group_prefix: x}"), "5:1: kafka", "remove the section"),
        ("files elsewhere", top("store: s3://claims/files"), "5:8: store", "local directories only"),
        ("tables among the files", top("store: ./lake"), "5:8: store", "beside each other"),
        ("too little memory", top("download: {max_in_flight: 1000}"), "5:27: download.max_in_flight", "write memory: 192000KiB"),
        ("no address", top("http: {listen: localhost}"), "5:16: http.listen", "write for example 127.0.0.1:9464"),
        ("open to all", top("http: {listen: 0.0.0.0:9464}"), "5:16: http.listen", "set http.token to ${env:NAME}"),
        (
            "an endpoint over http",
            refresh("url: http://api.example.com/{media_id}"),
            "6:12: sources[0].refresh.url",
            "allow_http: true",
        ),
        (
            "a field that only paths have",
            refresh("url: https://api.example.com/{filename}"),
            "6:12: sources[0].refresh.url",
            "known are url, media_id",
        ),
        (
            "an endpoint of the event's",
            refresh("url: https://{host}/x"),
            "6:12: sources[0].refresh.url",
            "https://api.example.com/items/{id}",
        ),
    ];
    assert_each(&cases);
}

#[test]
fn wrong_mappings() {
    let base = "sources:\n  - name: mine\n    allow_hosts: [a.example]\n";
    let mine = |lines: &str| base.to_owned() + &lines.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let enrich = |lines: &str| {
        mine(&format!("map: {{trace_id: id}}\nenrich:\n{}", lines.lines().map(|l| format!("  {l}\n")).collect::<String>()))
    };
    let cases: [Case; 16] = [
        ("a slip in a field", mine("map: {atachments: url}"), "4:11: sources[0].map.atachments", "did you mean attachments?"),
        ("a column in the map", mine("map: {attachments: url, claim: id}"), "4:29: sources[0].map.claim", "stand in columns"),
        (
            "a field in the columns",
            mine("map: {attachments: url}\ncolumns: {event_id: id}"),
            "5:15: sources[0].columns.event_id",
            "move it to map",
        ),
        ("no attachments", mine("map: {trace_id: id}"), "4:10: sources[0].map", "add for example attachments"),
        ("no expression", mine("map: {attachments: 'files[.url'}"), "4:24: sources[0].map.attachments", "JMESPath"),
        (
            "a column of ours",
            mine("map: {attachments: url}\ncolumns: {sha256: sum}"),
            "5:23: sources[0].columns.sha256",
            "choose another",
        ),
        (
            "a column with capitals",
            mine("map: {attachments: url}\ncolumns: {claimId: id}"),
            "5:24: sources[0].columns.claimId",
            "lower-case letters",
        ),
        (
            "a fixed preset",
            source("columns: {claim: id}"),
            "5:22: sources[0].columns.claim",
            "remove it, or read such events by a map",
        ),
        (
            "when of no expression",
            mine("map: {attachments: url}\nwhen: {field: 'a[', equals: x}"),
            "5:19: sources[0].when.field",
            "JMESPath",
        ),
        ("no endpoint", enrich("attachments: url"), "6:7: sources[0].enrich.url", "is missing; add url:"),
        (
            "nothing taken",
            mine("map: {attachments: url}\nenrich:\n  url: https://api.example.com/{id}\n  fields: {id: id}"),
            "6:7: sources[0].enrich",
            "write attachments: or columns:",
        ),
        (
            "a field that nobody gives",
            enrich("url: https://api.example.com/{claim}\nattachments: url"),
            "6:12: sources[0].enrich.url",
            "say in sources[0].enrich.fields",
        ),
        (
            "a body on a GET",
            enrich("url: https://api.example.com/x\nattachments: url\nbody: '{}'"),
            "8:13: sources[0].enrich.body",
            "write method: POST",
        ),
        (
            "a body that is no JSON",
            enrich("url: https://api.example.com/x\nattachments: url\nmethod: POST\nbody: 'id={id}'"),
            "9:13: sources[0].enrich.body",
            "write for example",
        ),
        (
            "no method of ours",
            enrich("url: https://api.example.com/x\nattachments: url\nmethod: PATCH"),
            "8:15: sources[0].enrich.method",
            "known are GET, POST",
        ),
        (
            "credentials without headers",
            source("credentials:\n  - host: a.example"),
            "6:9: sources[0].credentials[0].headers",
            "is missing; add headers:",
        ),
    ];
    assert_each(&cases);
}

#[test]
fn sources_of_one_topic_are_split() {
    let split = "sources:\n\
        - {name: one, preset: xact, topic: shared, allow_hosts: [a.example], when: {field: type, equals: claim}}\n\
        - {name: two, preset: xact, topic: shared, allow_hosts: [a.example], when: {field: type, equals: [estimate]}}\n\
        - {name: rest, preset: xact, topic: shared, allow_hosts: [a.example]}\n";
    assert_eq!(errors(split, &[]), Vec::<String>::new());
    let twice = split.replace("[estimate]", "[estimate, claim]");
    assert!(
        errors(&twice, &[])[0].starts_with("3:109: sources[1].when.equals: 'claim' belongs to the source one already"),
        "{:?}",
        errors(&twice, &[])
    );
    let nobody = split.lines().take(3).collect::<Vec<_>>().join("\n");
    let warnings = load(&nobody, &[]).ok().unwrap().warnings;
    assert!(
        warnings.iter().all(|w| w.message.contains("end as dead letters; add a source without when")) && warnings.len() == 2,
        "{warnings:?}"
    );
}

#[test]
fn all_errors_come_at_once_and_in_order() {
    let text = "sources:\n  - nam: Xact\n    preset: xct\n    retry: [5m, 1m]\n    retry: [1m]\nrecord: {freshness: fast}\nstore: s3://a/b\n";
    let places: Vec<String> = errors(text, &[("LONGSHORE_DOWNLOAD__PER_HOST", "many")])
        .iter()
        .map(|error| error.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "2:5 sources[0].allow_hosts",
        "2:5 sources[0].nam",
        "2:5 sources[0].name",
        "3:13 sources[0].preset",
        "4:17 sources[0].retry[1]",
        "5:5 retry",
        "6:21 record.freshness",
        "7:8 store",
        "environment LONGSHORE_DOWNLOAD__PER_HOST download.per_host",
    ];
    assert_eq!(places, expected);
}

#[test]
fn the_environment_wins_and_its_errors_name_the_variable() {
    let set = |name: &'static str, value: &'static str| errors(RIGHT, &[(name, value)]);
    for (name, value) in [
        ("LONGSHORE_RECORD__FRESHNESS", "1s"),
        ("LONGSHORE_SOURCES__XACT__MAX_SIZE", "2GiB"),
        ("LONGSHORE_SOURCES__0__RETRY", "1s, 2s,3s"),
        ("LONGSHORE_SOURCES__XACT__ALLOW_HOSTS", "a.example, *.b.example"),
        ("LONGSHORE_SOURCES__XACT__HEADERS", "{Accept: application/pdf}"),
        ("LONGSHORE_SOURCES__XACT__WHEN__EQUALS", "[a]"),
        ("LONGSHORE_SOURCES__XACT__CREDENTIALS", "[{host: a.example, headers: {X-Key: '${env:LONGSHORE_PORT}'}}]"),
        ("LONGSHORE_TRACING", "debug"),
        ("LONGSHORE_SERVICE_HOST", "10.0.0.1"),
        ("LONGSHORE_PORT_9464_TCP_ADDR", "10.0.0.1"),
    ] {
        let variables = [
            (name, value),
            ("LONGSHORE_SOURCES__XACT__WHEN__HEADER", "type"),
            ("LONGSHORE_SOURCES__XACT__WHEN__EQUALS", value),
            ("LONGSHORE_PORT", "tcp://10.0.0.1"),
        ];
        let variables = if name.contains("WHEN") { &variables[..] } else { &[variables[0], variables[3]][..] };
        assert_eq!(errors(RIGHT, variables), Vec::<String>::new(), "{name}={value}");
    }
    for (name, value, key, says) in [
        ("LONGSHORE_RECORD__FRESHNESS", "fast", "record.freshness", "write for example 500ms"),
        ("LONGSHORE_RECORD__FRESHNES", "1s", "no key has this variable", "did you mean LONGSHORE_RECORD__FRESHNESS?"),
        ("LONGSHORE_SOURCES__XCAT__MAX_SIZE", "1", "no key has this variable", "did you mean LONGSHORE_SOURCES__XACT__MAX_SIZE?"),
        ("LONGSHORE_SOURCES__XACT__ALLOW_PORTS", "443,x", "sources[0].allow_ports[1]", "write one from 1 to 65535"),
        ("LONGSHORE_SOURCES__XACT__HEADERS", "{Accept: ", "sources[].headers", "not valid YAML"),
        ("LONGSHORE_SOURCES__XACT__ALLOW_HOSTS", "", "sources[0].allow_hosts", "name the hosts"),
        ("LONGSHORE_HTTP__LISTEN", "0.0.0.0:80", "http.listen", "set http.token"),
        ("LONGSHORE_LOG", "debug", "log", "is set by LONGSHORE_TRACING"),
    ] {
        let errors = set(name, value);
        assert_eq!(errors.len(), 1, "{name}: {errors:?}");
        assert!(errors[0].starts_with(&format!("environment {name}: {key}")) && errors[0].contains(says), "{errors:?}");
    }
    let stray = load(RIGHT, &[("LONGSHORE_COLOUR", "red")]).ok().unwrap().warnings;
    assert!(stray[0].shown("x").starts_with("environment LONGSHORE_COLOUR: no key has this variable"), "{stray:?}");
}

#[test]
fn references_are_followed_and_secrets_stay_secret() {
    let text = source("headers: {Authorization: 'Bearer ${env:TOKEN}', X-Api-Key: 5ec2e7}");
    let missing = errors(&text, &[]);
    assert!(
        missing[0].starts_with("5:30: sources[0].headers.Authorization: the environment variable TOKEN is not set; set it"),
        "{missing:?}"
    );
    let ready = load(&text, &[("TOKEN", "t0p")]).ok().unwrap();
    let warned: Vec<String> = ready.warnings.iter().map(|w| w.shown("x")).collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].starts_with("x:5:64: sources[0].headers.X-Api-Key: a secret in plain text; write ${env:NAME}"),
        "{warned:?}"
    );
    assert!(!warned[0].contains("5ec2e7"));
    let no_file = errors(&top("http: {token: '${file:/nonexistent/token}'}"), &[]);
    assert!(no_file[0].starts_with("5:15: http.token: the file /nonexistent/token cannot be read"), "{no_file:?}");
    // What a reference brings is in no message, even where it is the mistake.
    let wrong = errors(
        &top("record: {freshness: '${env:SECRET}'}\nstore: '${env:STORE}'"),
        &[("SECRET", "5ec2e7"), ("STORE", "s3://5ec2e7/x")],
    );
    assert!(wrong.len() == 2 && wrong.iter().all(|error| !error.contains("5ec2e7")), "{wrong:?}");
    let quoted = "allow_hosts: ['${env:SECRET}']\npath: '${env:SECRET}'\nmap: {attachments: '${env:SECRET}'}\nrefresh: {url: '${env:SECRET}'}";
    let quoted =
        "sources:\n  - name: mine\n".to_owned() + &quoted.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let wrong = errors(&quoted, &[("SECRET", "https://5ec2e7[{x}")]);
    assert!(wrong.len() >= 3 && wrong.iter().all(|error| !error.contains("5ec2e7")), "{wrong:#?}");
    let token = errors(&top("http: {token: '5ec 2e7'}"), &[]);
    assert!(token[0].contains("white space") && !token[0].contains("5ec 2e7"), "{token:?}");
}

#[test]
fn a_network_of_everything_is_warned_about() {
    let warnings = load(&source("allow_private: [0.0.0.0/0]"), &[]).ok().unwrap().warnings;
    assert!(
        warnings[0].shown("x").starts_with("x:5:21: sources[0].allow_private[0]: 0.0.0.0/0 lets events reach"),
        "{warnings:?}"
    );
}

#[test]
fn a_file_that_is_no_configuration_is_refused_before_it_is_read() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("longshore.yaml");
    let says = |file: &Path| load_with(file, Purpose::Run, Surroundings::beside(file)).err().unwrap().to_string();
    assert!(says(&file).contains("there is no such file; make one with 'longshore config init"), "{}", says(&file));
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    assert!(says(&file).contains("is not UTF-8"));
    std::fs::write(&file, "# much\n".repeat(200_000)).unwrap();
    assert!(says(&file).contains("larger than 1024 KiB"));
}

#[test]
fn the_examples_of_the_reference_are_right() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let document = std::fs::read_to_string(document).unwrap();
    let examples: Vec<&str> = document.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        let message = load(example, &[]).err().map(|errors| errors.to_string());
        assert_eq!(message, None, "{example}");
    }
}

#[test]
fn presets_take_the_fields_that_they_know() {
    let s3 = |map: &str| RIGHT.replace("preset: xact", "preset: s3-notification") + &format!("    map: {map}\n");
    assert_eq!(errors(&s3("{url: 'https://{bucket}.files.example.com/{key}'}"), &[]), Vec::<String>::new());
    let wrong = errors(&s3("{attachments: url}"), &[]);
    assert!(wrong.len() == 1 && wrong[0].contains("is not a field; known are url"), "{wrong:?}");
    let events = RIGHT.replace("preset: xact", "preset: cloudevents")
        + "    map: {attachments: data.files}\n    columns: {subject: subject}\n";
    assert_eq!(errors(&events, &[]), Vec::<String>::new());
}
