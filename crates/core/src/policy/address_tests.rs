#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn ruling(address: &str, allow: &[&str]) -> Ruling {
    let nets: Vec<IpNet> = allow.iter().map(|n| n.parse().unwrap()).collect();
    judge(address.parse().unwrap(), &nets)
}

#[test]
fn every_special_block_is_refused_at_both_ends_and_not_beyond() {
    for (first, last) in [
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
        ("224.0.0.0", "255.255.255.255"),
    ] {
        let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().unwrap(), last.parse().unwrap());
        assert!(!judge(first.into(), &[]).allowed, "{first}");
        assert!(!judge(last.into(), &[]).allowed, "{last}");
        for outside in [u32::from(first).checked_sub(1), u32::from(last).checked_add(1)].into_iter().flatten().map(Ipv4Addr::from)
        {
            assert!(judge(outside.into(), &[]).allowed, "{outside} borders {first}-{last} and is public");
        }
    }
}

#[test]
fn special_ipv6_addresses_are_refused() {
    for address in [
        "::",
        "::1",
        "::2",
        "::7f00:1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "::ffff:0:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1:7f00:0:100::",
        "64:ff9b:1::808:808",
        "64:ff9b:2::1",
        "100::1",
        "100:0:0:1::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:0:808:808::f7f7:f7f7",
        "2001:2::1",
        "2001:10::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2002:c0a8:101::",
        "2606:4700::5efe:127.0.0.1",
        "2606:4700::200:5efe:10.1.2.3",
        "3fff::1",
        "3fff:fff:ffff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "feff::1",
        "ff02::1",
        "ff0e::1",
    ] {
        assert!(!ruling(address, &[]).allowed, "{address}: {}", ruling(address, &[]).rule);
    }
}

#[test]
fn public_addresses_are_allowed() {
    for address in [
        "8.8.8.8",
        "1.1.1.1",
        "172.15.0.1",
        "172.32.0.1",
        "100.128.0.1",
        "192.0.1.1",
        "2606:4700::1111",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2a00:1450::1",
        "2620:4f:8000::1",
        "3fff:1000::1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "2606:4700::5efe:8.8.8.8",
    ] {
        assert!(ruling(address, &[]).allowed, "{address}: {}", ruling(address, &[]).rule);
    }
}

#[test]
fn a_named_network_is_allowed_in_every_form_that_leads_there() {
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::"] {
        assert!(ruling(address, &["10.1.0.0/16"]).allowed, "{address}");
        assert!(!ruling(address, &["10.2.0.0/16"]).allowed, "{address}");
    }
    assert!(!ruling("::10.1.2.3", &["10.1.0.0/16"]).allowed, "nothing translates the deprecated form");
    assert!(ruling("::1", &["::1/128"]).allowed);
    assert!(!ruling("::1", &["127.0.0.0/8"]).allowed);
    assert!(ruling("fd12::1", &["fd12::/16"]).allowed);
}

#[test]
fn a_metadata_service_is_allowed_only_when_named_alone() {
    for address in ["169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "::ffff:169.254.169.254"] {
        assert!(!ruling(address, &[]).allowed, "{address}");
        assert!(!ruling(address, &["0.0.0.0/0", "169.254.0.0/16", "100.64.0.0/10", "fd00::/8"]).allowed, "{address}");
    }
    assert!(ruling("169.254.169.254", &["169.254.169.254/32"]).allowed);
    assert!(ruling("fd00:ec2::254", &["fd00:ec2::254/128"]).allowed);
}

#[test]
fn the_rule_is_named() {
    assert_eq!(ruling("127.0.0.1", &[]).rule.to_string(), "loopback (127.0.0.0/8)");
    assert_eq!(ruling("::ffff:a00:1", &[]).rule.to_string(), "IPv4-mapped form of 10.0.0.1: private (10.0.0.0/8)");
    assert_eq!(ruling("10.0.0.1", &["10.0.0.0/8"]).rule.to_string(), "allow_private 10.0.0.0/8");
    assert_eq!(ruling("8.8.8.8", &[]).rule.to_string(), "public");
}

proptest! {
    /// Every form that leads to an IPv4 address has its verdict; the others never allow what it forbids.
    #[test]
    fn forms_follow_the_embedded_address(v4: u32, prefix: u64) {
        let inner = judge(Ipv4Addr::from(v4).into(), &[]).allowed;
        let v4 = u128::from(v4);
        for decisive in [0xffff_0000_0000 | v4, (0x64_ff9b << 96) | v4, (0x2002 << 112) | (v4 << 80) | u128::from(prefix)] {
            prop_assert_eq!(judge(Ipv6Addr::from(decisive).into(), &[]).allowed, inner);
        }
        let isatap = (u128::from(prefix) << 64) | (0x5efe << 32) | v4;
        prop_assert!(inner || !judge(Ipv6Addr::from(isatap).into(), &[]).allowed);
    }

    /// What is allowed in IPv6 lies in 2000::/3 or leads to IPv4.
    #[test]
    fn nothing_outside_global_unicast(bits: u128) {
        let address = Ipv6Addr::from(bits);
        if judge(address.into(), &[]).allowed {
            prop_assert!(bits >> 125 == 1 || !embedded(address.into()).is_empty());
        }
    }
}
