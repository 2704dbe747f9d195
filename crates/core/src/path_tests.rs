use proptest::prelude::*;

use super::*;

fn url_path(url: &str) -> String {
    UrlParts::of(url).map(|parts| parts.object_path()).unwrap_or_default()
}

fn fields<'a>(url: &str, columns: &'a Columns) -> PathFields<'a> {
    PathFields {
        url: UrlParts::of(url).expect("a URL"),
        media_id: Uuid::from_u128(1),
        trace_id: "t/1",
        event_date: "2026-11-23",
        file_name: None,
        columns,
    }
}

#[test]
fn a_url_becomes_host_and_path() {
    assert_eq!(url_path("https://Example.COM/a/b.pdf"), "example.com/a/b.pdf");
    assert_eq!(url_path("https://example.com:443/b.pdf"), "example.com/b.pdf");
    assert_eq!(url_path("http://example.com:8080/b.pdf"), "example.com_8080/b.pdf");
    assert_eq!(url_path("https://example.com"), "example.com/index");
    assert_eq!(url_path("https://example.com/a/"), "example.com/a/index");
    assert_eq!(url_path("https://example.com//a///b"), "example.com/a/b");
    assert_eq!(url_path("https://[2001:DB8::1]:8443/x"), "2001_db8__1_8443/x");
    assert_eq!(UrlParts::of("not a url"), None);
    assert_eq!(UrlParts::of("data:text/plain,x"), None);
}

#[test]
fn escapes_are_decoded_once_and_stay_inside() {
    assert_eq!(url_path("https://h/Sch%C3%A4den/a%20b.pdf"), "h/Schäden/a b.pdf");
    assert_eq!(url_path("https://h/%252e%252e/x"), "h/%2e%2e/x");
    assert_eq!(url_path("https://h/..%2f..%2fetc%2fpasswd"), "h/.._.._etc_passwd");
    assert_eq!(url_path("https://h/%2e%2e/%2e%2e/x"), "h/x");
    assert_eq!(url_path("https://h/a%00b%0a.pdf"), "h/a_b_.pdf");
    assert_eq!(url_path("https://h/..%5c..%5cx"), "h/.._.._x");
    assert_eq!(url_path("https://h/%ff%fe.pdf"), "h/%ff%fe.pdf", "not UTF-8: left as it is");
    assert_eq!(url_path("https://h/50%/x%4"), "h/50%/x%4");
    assert_eq!(url_path("https://h/.longshore/log.db"), "h/_longshore/log.db");
    assert_eq!(url_path("https://h/.LongShore-uploads/x"), "h/_LongShore-uploads/x");
}

#[test]
fn urls_that_differ_only_in_the_query_have_different_paths() {
    let one = url_path("https://h/get.pdf?id=1");
    let two = url_path("https://h/get.pdf?id=2");
    assert_ne!(one, two);
    assert!(one.starts_with("h/get~") && one.ends_with(".pdf") && one.len() == "h/get~12345678.pdf".len(), "{one}");
    assert_eq!(one, "h/get~fd3ff9f9.pdf".replace("fd3ff9f9", &hex("id=1", 8)));
    assert_eq!(url_path("https://h/get.pdf?"), "h/get.pdf");
    assert_ne!(url_path("https://h/?a"), url_path("https://h/?b"));
}

#[test]
fn components_lose_what_is_harmful() {
    assert_eq!(component(""), "_");
    assert_eq!(component("."), "_");
    assert_eq!(component(".."), "_");
    assert_eq!(component(" . . "), "_");
    assert_eq!(component("a. ."), "a");
    assert_eq!(component("a\u{202e}fdp.exe"), "a_fdp.exe");
    assert_eq!(component(".hidden"), ".hidden");
}

#[test]
fn long_names_keep_their_extension_and_stay_different() {
    let (one, two) = (component(&format!("{}1.pdf", "ä".repeat(300))), component(&format!("{}2.pdf", "ä".repeat(300))));
    assert!(one.len() <= COMPONENT_BYTES && one.ends_with(".pdf"), "{one}");
    assert_ne!(one, two);
    let deep = |end: &str| sanitise(&format!("host/{}{end}/file.pdf", "directory/".repeat(200)));
    assert!(deep("x").len() <= PATH_BYTES && deep("x").starts_with("host/directory/") && deep("x").ends_with("/file.pdf"));
    assert_ne!(deep("x"), deep("y"));
}

#[test]
fn a_suffix_stands_before_the_extension_and_fits() {
    assert_eq!(with_suffix("a/b.pdf", "-12"), "a/b-12.pdf");
    assert_eq!(with_suffix("b", "-12"), "b-12");
    assert_eq!(with_suffix("a.d/.hidden", "-12"), "a.d/.hidden-12");
    let long = with_suffix(&format!("a/{}.pdf", "b".repeat(196)), &format!("-{}", "0".repeat(64)));
    assert!(is_sanitised(&long) && long.ends_with("000.pdf"), "{long}");
}

#[test]
fn a_template_is_filled_in() {
    let columns = Columns::from([("claim".into(), "../../etc".to_string())]);
    let render = |text| PathTemplate::parse(text).expect("a template").render(&fields("https://h/a/b.PDF", &columns));
    assert_eq!(render("{host}/{path}"), "h/a/b.PDF");
    assert_eq!(render("x/{event_date}/{trace_id}/{media_id}.{ext}"), "x/2026-11-23/t_1/00000000-0000-0000-0000-000000000001.pdf");
    assert_eq!(render("/{{{ name }}}/"), "{b.PDF}");
    assert_eq!(render("../../{name}"), "_/_/b.PDF");
    let with = PathTemplate::parse_with("{claim}/{note}/{name}", &["claim", "note"]).expect("a template");
    assert_eq!(with.render(&fields("https://h/a.txt", &columns)), ".._.._etc/unknown/a.txt");
}

#[test]
fn a_wrong_template_is_explained() {
    let error = |text| PathTemplate::parse(text).expect_err("wrong");
    assert!(error("{hots}/{path}").contains("{hots}") && error("{hots}").contains("{event_date}"), "{}", error("{hots}"));
    assert!(error("{host").contains("without its"));
    assert!(error("host}").contains("without its"));
    assert!(error("fixed").contains("no field"));
    assert!(error("").contains("no field"));
}

fn assert_harmless(path: &str) {
    assert!(!path.is_empty() && path.len() <= PATH_BYTES, "{path:?}");
    for part in path.split('/') {
        assert!(!part.is_empty() && part != "." && part != ".." && part.len() <= COMPONENT_BYTES, "{path:?}");
        assert!(!part.chars().any(|c| c.is_control() || c == '\\'), "{path:?}");
        assert!(!part.ends_with(['.', ' ']), "{path:?}");
        assert!(!part.to_ascii_lowercase().starts_with(".longshore"), "{path:?}");
    }
    assert_eq!(sanitise(path), path, "sanitising twice");
}

/// Texts in which what matters is frequent.
fn nasty() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), any::<String>(), "[ -~]{1,210}", r"(\.\./|a{150}|ä{90}|[. ]{60}|/|b){0,30}(\.[a-z]{1,18})?",]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_path_is_made_harmless(text in nasty()) {
        assert_harmless(&sanitise(&text));
        assert_harmless(&component(&text));
        prop_assert!(!component(&text).contains('/'));
    }

    #[test]
    fn what_is_taken_as_it_stands_is_what_a_close_look_leaves(text in nasty()) {
        let parts: Vec<String> = text.split('/').filter(|part| !part.is_empty()).map(made_harmless).collect();
        prop_assert_eq!(sanitise(&text), if parts.is_empty() { "_".to_string() } else { bounded(&parts) });
        prop_assert_eq!(component(&text), made_harmless(&text));
    }

    #[test]
    fn any_url_has_a_harmless_path(path in nasty(), query in nasty()) {
        if let Some(parts) = UrlParts::of(&format!("https://host.example:81/{path}?{query}")) {
            assert_harmless(&parts.object_path());
            assert_harmless(&parts.path);
            assert_harmless(&parts.name);
            prop_assert!(parts.object_path().starts_with("host.example_81/"));
        }
    }

    #[test]
    fn any_template_stays_inside(start in nasty(), value in nasty(), url in nasty()) {
        let Ok(template) = PathTemplate::parse_with(&format!("{}/{{v}}{{path}}{{ext}}", start.replace(['{', '}'], "")), &["v"]) else {
            return Ok(());
        };
        let columns = Columns::from([("v".into(), value)]);
        let mut fields = fields("https://h/x", &columns);
        fields.url = UrlParts::of(&format!("https://h/{url}")).unwrap_or(fields.url);
        assert_harmless(&template.render(&fields));
    }

    #[test]
    fn a_suffixed_path_is_harmless(text in nasty()) {
        assert_harmless(&with_suffix(&sanitise(&text), "-0123456789abcdef"));
        assert_harmless(&with_suffix(&sanitise(&text), &format!("-{}", "f".repeat(64))));
    }
}
