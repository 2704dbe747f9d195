//! `longshore check-url`: what is said of a URL, by flags and by a configuration.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

fn check_url(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_longshore")).arg("check-url").args(args).output().unwrap()
}

fn checked(args: &[&str]) -> (i32, Value) {
    let output = check_url(&[args, &["--json"]].concat());
    let verdict: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert!(!verdict.to_string().contains("secret"), "{verdict}");
    (output.status.code().unwrap(), verdict)
}

#[test]
fn nothing_is_said_of_a_url_that_is_none() {
    for none in ["", "  ", "not a url"] {
        let (code, verdict) = checked(&[none]);
        assert_eq!(code, 3, "{none}");
        for field in ["media_id", "file_type", "path", "identity", "credentials"] {
            assert!(verdict[field].is_null(), "'{none}': {verdict}");
        }
        let text = String::from_utf8_lossy(&check_url(&[none]).stdout).into_owned();
        assert!(text.contains("refused") && !text.contains("media id") && !text.contains("file type"), "{text}");
    }
}

#[test]
fn a_presigned_url_is_told_its_expiry_and_its_identity() {
    let signed = |date: &str| {
        format!(
            "https://b.s3.amazonaws.com/a.pdf?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=secret1&X-Amz-Date={date}\
             &X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=secret2"
        )
    };
    let (code, verdict) = checked(&[&signed("20200102T030405Z")]);
    assert_eq!((code, &verdict["reason"], &verdict["expiry"]["expired"]), (3, &"expired".into(), &true.into()), "{verdict}");
    let (code, later) = checked(&[&signed("20990102T030405Z")]);
    assert_eq!((code, &later["expiry"]["expired"]), (0, &false.into()), "{later}");
    assert_eq!(later["media_id"], verdict["media_id"], "signed anew it is the same");
    assert_eq!(later["identity"], "https://b.s3.amazonaws.com/a.pdf");
}

const CONFIG: &str = "
sources:
  - name: claims
    preset: xact
    allow_hosts: ['*.example.com']
    credentials:
      - {host: files.example.com, headers: {Authorization: '${env:CHECK_URL_TEST_TOKEN}', X-Key: '${env:CHECK_URL_TEST_TOKEN}'}}
  - name: links
    preset: urls
    identity: exact
    allow_hosts: [files.example.com]
";

#[test]
fn a_configured_source_explains_its_own_rules() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("longshore.yaml");
    std::fs::write(&path, CONFIG).unwrap();
    let config = path.to_str().unwrap();
    let check = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.arg("check-url").args(args).args(["-c", config]).env("CHECK_URL_TEST_TOKEN", "secret-token-of-a-test");
        let output = command.output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("secret"), "{output:?}");
        output
    };
    let json = |args: &[&str]| -> Value {
        let output = check(&[args, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    let url = "https://files.example.com/docs/estimate.pdf";
    let claims = json(&[url, "--source", "claims"]);
    assert_eq!(claims["credentials"], serde_json::json!(["Authorization", "X-Key"]));
    assert!(claims["media_id"].is_null() && claims["path"].is_null() && claims["allowed"] == true, "{claims}");
    let of_event = json(&["https://xactware.example.com/docs/estimate.pdf", "--source", "claims", "--trace-id", "abc123"]);
    assert!(of_event["media_id"].is_string() && of_event["credentials"] == serde_json::json!([]), "{of_event}");
    assert_eq!(json(&["https://files.example.com/a.exe", "--source", "claims"])["reason"], "file_type");
    let links = json(&[url, "--source", "links"]);
    assert!(links["media_id"].is_string() && links["identity_rule"].as_str().unwrap().contains("exact"), "{links}");
    for (args, says) in [(&[url] as &[&str], "claims, links"), (&[url, "--source", "none"], "claims, links")] {
        let output = check(args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{output:?}");
    }
}

#[test]
fn a_refusal_names_the_flag_and_the_key() {
    for (url, flag, key) in
        [("http://example.com/", "--allow-http", "allow_http"), ("https://10.0.0.1/", "--allow-private", "allow_private")]
    {
        let (_, verdict) = checked(&[url]);
        let rule = verdict["rule"].as_str().unwrap();
        assert!(rule.contains(flag) && rule.contains(key), "{rule}");
    }
    let (_, verdict) = checked(&["https://example.org/", "--allow-host", "example.com"]);
    assert!(verdict["rule"].as_str().unwrap().contains("--allow-host"), "{verdict}");
    let (_, verdict) = checked(&["https://example.org/a.exe", "--file-types", "pdf"]);
    assert!(verdict["rule"].as_str().unwrap().contains("--file-types"), "{verdict}");
}
