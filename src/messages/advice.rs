//! Every message says what to do, and a test follows each kind of advice.

use super::*;

/// Reasons that say what is done or under way, so that nothing is left to do.
const NOTHING_TO_DO: [Reason; 11] = [
    Reason::NoLongerRequested,
    Reason::NothingRequested,
    Reason::PlanRecorded,
    Reason::Sent,
    Reason::ResetVerified,
    Reason::Pausing,
    Reason::BringingBack,
    Reason::QuietPeriod,
    Reason::GroupInactive,
    Reason::PipelineInactive,
    Reason::Reachable,
];

/// Each kind of advice by its wording, with the test that follows it to the letter. No test where a person is to look or to ask somebody,
/// or only has to wait.
const ADVICE: &[(&str, Option<&str>)] = &[
    ("new id", Some("d1_a_new_id_runs_wherever_a_message_says_that_it_does")),
    ("or remove spec.offsetReset", Some("o19_held_stays_at_0_over_a_restart_and_is_scaled_back_when_the_id_is_removed")),
    ("set onUnknownOutcome: Retry", Some("o19_retry_sends_the_same_plan_once_and_scales_back")),
    ("Set dryRun: false", Some("d1_each_setting_that_a_message_names_runs_the_request")),
    ("Set outOfRange: Clamp", Some("d1_each_setting_that_a_message_names_runs_the_request")),
    ("whenCreated: Run", Some("d1_each_way_out_of_a_skipped_request_runs_it")),
    ("kafka-acls --add", Some("d1_the_commands_that_grant_a_missing_right_run_as_they_stand")),
    ("User:<principal>", Some("d1_a_principal_that_the_operator_cannot_know_is_told_with_where_to_find_it")),
    ("kafka-transactions", Some("d1_a_transaction_that_is_left_over_is_found_and_ended_as_the_message_says")),
    ("kafka-consumer-groups", Some("d1_every_command_on_the_page_of_messages_runs_as_it_stands")),
    ("kafka-configs --describe", Some("d1_every_command_on_the_page_of_messages_runs_as_it_stands")),
    ("kubectl get osr", Some("d1_every_command_on_the_page_of_messages_runs_as_it_stands")),
    ("create it, and the operator goes on", Some("d1_the_secret_and_the_keys_that_a_message_names_are_added_until_it_works")),
    ("add it, and the operator goes on", Some("d1_the_secret_and_the_keys_that_a_message_names_are_added_until_it_works")),
    ("--allowed-endpoints", Some("d1_the_flag_that_a_message_names_lets_the_operator_through")),
    ("--allow-plain-http", Some("f14_plain_http_is_refused_unless_the_operator_allows_it")),
    ("once the older is gone", Some("d1_the_object_that_a_message_names_is_the_one_that_is_in_the_way")),
    ("delete and create this object", Some("f13_another_cluster_behind_the_same_address_gets_nothing_until_the_object_is_made_anew")),
    (
        "delete the StreamPipeline and create it anew",
        Some("k27_share_and_streams_groups_are_refused_and_a_classic_streams_group_needs_topics"),
    ),
    ("in a new object", Some("d1_what_is_to_be_corrected_in_a_new_object_runs_in_one")),
    ("chart's value `workloads`", Some("d1_the_value_of_the_chart_that_a_message_names_gives_the_right")),
    ("chart's ClusterRole", Some("d8_what_the_api_server_refuses_is_logged_in_words_with_what_to_do")),
    ("autoscaling.keda.sh/paused", Some("d1_a_scaler_is_paused_by_the_annotation_that_the_message_names")),
    ("Remove it, or use Wait", Some("a05_a_horizontal_pod_autoscaler_is_named_and_nothing_is_scaled")),
    ("correct spec.kafka.workloads", Some("a_workload_that_is_not_there_is_told_and_corrected_in_the_spec")),
    ("scale it by hand", Some("d1_what_is_left_stopped_is_scaled_by_hand_as_the_message_says")),
    ("are older than the operator; upgrade them", Some("o29_an_operator_on_older_definitions_takes_no_step_and_says_how_to_upgrade_them")),
    ("Stop them; the reset starts by itself", Some("a01_a_classic_member_is_waited_for_and_named")),
    ("Stop it; the reset starts by itself", Some("a06_an_assign_consumer_that_was_never_a_member_counts_as_active")),
    (
        "Pause or stop it; the reset starts by itself",
        Some("e02_a12_running_with_wait_is_named_left_alone_and_reset_when_somebody_pauses_it"),
    ),
    ("Start and stop it", None),
    ("Start it: its lag is then compared", None),
    ("Correct the clock", None),
    ("Check spec.kafka", Some("f04_tls_that_is_refused_is_named_at_once_and_put_right")),
    ("check spec.kafka", Some("f04_who_hangs_up_or_is_not_there_is_named_and_put_right")),
    ("Check bootstrapServers", Some("f04_who_hangs_up_or_is_not_there_is_named_and_put_right")),
    ("Check the port in bootstrapServers", Some("f04_who_hangs_up_or_is_not_there_is_named_and_put_right")),
    ("Check whether the port", Some("f04_tls_that_is_refused_is_named_at_once_and_put_right")),
    ("check advertised.listeners", None),
    ("see what answers at", None),
    ("Check the certificate in", Some("f04_tls_that_is_refused_is_named_at_once_and_put_right")),
    ("Check the broker's certificate", None),
    ("Check username and password", Some("f04_a_log_in_that_is_refused_is_named_at_once_and_put_right")),
    ("Check firewalls", None),
    ("Check the quotas", Some("f20_a_quota_that_throttles_is_said_and_a_reset_goes_through_it")),
    ("Correct accessKey", Some("f05_an_unknown_access_key_is_named_and_picked_up")),
    ("Correct secretKey", Some("f05_a_wrong_secret_key_is_named_and_picked_up")),
    ("It needs accessKey and secretKey", Some("f05_an_empty_value_is_named_and_picked_up")),
    ("Correct spec.enos.start", None),
    ("Check spec.enos", Some("e13_what_somebody_new_gets_wrong_is_told_with_what_to_do")),
    ("Check that spec.enos.endpoint", Some("e13_what_somebody_new_gets_wrong_is_told_with_what_to_do")),
    ("spec.enos.ca", Some("e13_what_somebody_new_gets_wrong_is_told_with_what_to_do")),
    ("by itself", None),
    ("tried again", None),
    ("asked again", None),
    ("looked at again", None),
    ("is to be done", None),
    ("There is nothing to do", None),
    ("is asked again", None),
    ("Report it", None),
    ("Check that the pipeline belongs", None),
    ("Request the resource", None),
    ("See the text", None),
    ("Look whether a value", Some("f05_an_empty_value_is_named_and_picked_up")),
    ("Check the Secret", Some("f05_a_wrong_secret_key_is_named_and_picked_up")),
    ("Let the cluster's outgoing address in", None),
    ("Shorten spec.enos.start.resourceConfig", None),
    ("It has to be https://", None),
    ("Check the network and the gateway", None),
    ("Check accessKey and secretKey", Some("f05_a_wrong_secret_key_is_named_and_picked_up")),
    ("Authorize the application", None),
    ("ook at", None),
    ("ook into", None),
    ("Correct it", None),
];

/// D1: every message says what to do, and a test follows each kind of advice.
#[test]
fn d1_every_message_says_what_to_do_and_each_kind_of_advice_is_done_by_a_test() {
    let (rows, others, elsewhere) = all();
    let mut told: Vec<_> = rows.iter().chain(&others).map(|row| (row.2, row.3.as_str())).collect();
    told.extend(elsewhere.iter().map(|row| (row.2, row.3.as_str())));
    let silent: Vec<_> = told
        .iter()
        .filter(|(reason, text)| !NOTHING_TO_DO.contains(reason) && !ADVICE.iter().any(|(words, _)| text.contains(words)))
        .collect();
    assert!(silent.is_empty(), "what is to be done?\n{silent:#?}");
    let unused: Vec<_> =
        ADVICE.iter().map(|(words, _)| words).filter(|words| !told.iter().any(|(_, text)| text.contains(**words))).collect();
    assert!(unused.is_empty(), "no message says {unused:?}");
    let mut sources = String::new();
    let mut rooms = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it"))];
    while let Some(room) = rooms.pop() {
        for entry in std::fs::read_dir(room).expect("the tests are there").flatten() {
            match entry.path() {
                path if path.is_dir() => rooms.push(path),
                path => sources += &std::fs::read_to_string(path).expect("it can be read"),
            }
        }
    }
    let gone: Vec<_> = ADVICE.iter().filter_map(|(_, test)| *test).filter(|test| !sources.contains(&format!("async fn {test}("))).collect();
    assert!(gone.is_empty(), "no such test: {gone:?}");
}
