//! The policy's table of addresses.

use super::*;

fn policy(rules: &[&str], forbidden: &[&str]) -> EndpointPolicy {
    let forbidden: Vec<IpAddr> = forbidden.iter().map(|ip| ip.parse().unwrap()).collect();
    EndpointPolicy::parse(rules, &forbidden).unwrap()
}

fn ip(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 9092)
}

#[test]
fn without_rules_the_special_addresses_are_refused_however_they_are_written() {
    let policy = policy(&[], &["10.96.0.1"]);
    for refused in [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "10.96.0.1",
        "::ffff:10.96.0.1",
    ] {
        assert!(policy.permits(None, ip(refused)).is_err(), "{refused}");
        assert!(policy.permits(Some("gw.example.com"), ip(refused)).is_err(), "{refused} by name");
        assert!(policy.permits_host(refused, 9092).is_err(), "{refused} as a host");
    }
    for allowed in ["10.96.0.2", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd00::1", "2001:db8::1"] {
        assert!(policy.permits(None, ip(allowed)).is_ok(), "{allowed}");
    }
    assert!(policy.permits_host("gw.example.com", 9092).is_ok());
    assert!(policy.permits_host("[::1]", 9092).is_err());
}

#[test]
fn with_rules_exactly_those_are_allowed() {
    let policy = policy(&["10.0.0.0/8", "127.0.0.1", "Gw.Example.com", "*.enos.example.", ""], &["10.96.0.1"]);
    for (host, address, allowed) in [
        (None, "10.1.2.3", true),
        (None, "::ffff:10.1.2.3", true),
        (None, "10.96.0.1", false),
        (None, "127.0.0.1", true),
        (None, "127.0.0.2", false),
        (None, "8.8.8.8", false),
        (Some("gw.example.com"), "8.8.8.8", true),
        (Some("GW.example.com."), "8.8.8.8", true),
        (Some("gw.example.com"), "169.254.169.254", false),
        (Some("gw.example.com"), "10.96.0.1", false),
        (Some("a.b.enos.example"), "8.8.8.8", true),
        (Some("enos.example"), "8.8.8.8", false),
        (Some("evilenos.example"), "8.8.8.8", false),
        (Some("other.example.com"), "10.9.9.9", true),
    ] {
        assert_eq!(policy.permits(host, ip(address)).is_ok(), allowed, "{host:?} {address}");
    }
}

#[test]
fn a_forbidden_address_is_opened_only_by_its_own_rule() {
    for rules in [&["127.0.0.0/8"][..], &["10.0.0.0/8"], &[]] {
        let refused = policy(rules, &["127.0.0.1"]).permits(None, ip("127.0.0.1")).unwrap_err();
        assert_eq!(refused.why, API_SERVER, "{rules:?}: no flag that is right already is the remedy");
    }
    assert!(policy(&["127.0.0.1"], &["127.0.0.1"]).permits(None, ip("127.0.0.1")).is_ok());
}

#[test]
fn c3_the_api_servers_own_sockets_are_opened_by_no_rule_and_its_neighbours_are_not_closed() {
    let of_rules = |rules: &[&str]| {
        let policy = policy(rules, &[]);
        assert!(policy.learn_api_server(&["10.0.0.5:6443".parse().unwrap(), "[fd00::5]:6443".parse().unwrap()]));
        assert!(!policy.learn_api_server(&["[fd00::5]:6443".parse().unwrap(), "10.0.0.5:6443".parse().unwrap()]), "no news");
        policy
    };
    for rules in [&[][..], &["10.0.0.0/8", "fd00::/8"], &["10.0.0.5", "fd00::5"], &["*.example.com"]] {
        let policy = of_rules(rules);
        for refused in ["10.0.0.5:6443", "[::ffff:10.0.0.5]:6443", "[64:ff9b::a00:5]:6443", "[fd00::5]:6443"] {
            let refused: SocketAddr = refused.parse().unwrap();
            for host in [None, Some("kafka.example.com")] {
                assert_eq!(policy.permits(host, refused).unwrap_err().why, API_SERVER, "{rules:?} {host:?} {refused}");
            }
        }
        // A broker on the same node.
        assert!(policy.permits(Some("kafka.example.com"), "10.0.0.5:9092".parse().unwrap()).is_ok(), "{rules:?}");
    }
    assert_eq!(of_rules(&[]).permits_host("10.0.0.5", 6443).unwrap_err().why, API_SERVER);
}

#[test]
fn with_names_only_other_names_are_refused_before_they_are_resolved() {
    let names = policy(&["gw.example.com"], &[]);
    assert!(names.permits_host("gw.example.com", 9092).is_ok());
    assert!(names.permits_host("other.example.com", 9092).is_err());
    assert!(policy(&["10.0.0.0/8"], &[]).permits_host("other.example.com", 9092).is_ok());
}

#[test]
fn rules_are_read_and_shown() {
    for (text, shown) in [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1"),
        ("[fd00::1]", "fd00::1"),
        ("fd00::/8", "fd00::/8"),
        (" *.Example.com ", "*.example.com"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(text.parse::<Rule>().unwrap().to_string(), shown);
    }
    for bad in ["", "*", "*.", "a b", "10.0.0.0/33", "http://gw", "gw:443", "a..b", "1.2.3", "*.*.com", "256.1.1.1"] {
        assert!(bad.parse::<Rule>().is_err(), "{bad}");
    }
}
