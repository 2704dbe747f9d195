//! What Kafka's errors mean for the caller: wait and try again, or stop and have it mended.

use longshore_stages::ports::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// The error of a call that failed with this code while doing something to `what`, a topic or a group.
pub(super) fn of(doing: &str, what: &str, code: Code) -> LogError {
    let said = |remedy: &str| format!("{doing} {what} on Kafka: {}: {remedy}", name(code));
    match remedy(code) {
        Remedy::Wait(text) => LogError::Unavailable(said(text)),
        Remedy::Stop(text) => LogError::Fatal(said(text)),
    }
}

/// The same of an error of the client library.
pub(super) fn of_error(doing: &str, what: &str, error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(code) => of(doing, what, code),
        None => LogError::Unavailable(format!("{doing} {what} on Kafka: {error}")),
    }
}

/// The topic is not there.
pub(super) fn no_topic(topic: &str) -> LogError {
    LogError::Fatal(format!(
        "Kafka has no topic {topic}: make it with longshore topics create, or correct its name in the configuration"
    ))
}

enum Remedy {
    /// It may pass by itself, or by what somebody does elsewhere.
    Wait(&'static str),
    /// Only a person can mend it, here.
    Stop(&'static str),
}

fn remedy(code: Code) -> Remedy {
    use Remedy::{Stop, Wait};
    match code {
        Code::TopicAuthorizationFailed => {
            Stop("the user has no right to the topic; give it READ and DESCRIBE to read, WRITE and DESCRIBE to append")
        }
        Code::GroupAuthorizationFailed => Stop("the user has no right to the group; give it READ on the group"),
        Code::ClusterAuthorizationFailed => Stop("the user lacks a right on the cluster; give it IDEMPOTENT_WRITE"),
        Code::TransactionalIdAuthorizationFailed | Code::DelegationTokenAuthorizationFailed => {
            Stop("the user lacks a right; ask whoever keeps the broker's ACLs")
        }
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
            Stop("the broker does not accept who we are; check kafka.properties: sasl.mechanism, sasl.username, sasl.password")
        }
        Code::SSL => {
            Stop("TLS does not come about; check kafka.properties: security.protocol, ssl.ca.location and the certificates")
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            Stop("the record is larger than the topic takes; raise the topic's max.message.bytes to 2097152")
        }
        Code::FencedInstanceId | Code::UnreleasedInstanceId => {
            Stop("another process has the same kafka.instance_id; give each its own")
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedAssignor => Stop(
            "the broker is too old for what was asked; Longshore needs Apache Kafka 2.4, and 4.0 for kafka.group_protocol: consumer",
        ),
        Code::PolicyViolation | Code::InvalidRecord | Code::InvalidConfig | Code::InvalidReplicationFactor => {
            Stop("the broker refuses it by its own rules; ask whoever keeps the broker")
        }
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            Wait("the topic is not there; it is waited for, make it with longshore topics create")
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            Wait("fewer brokers are in sync than the topic's min.insync.replicas asks for; bring one back")
        }
        Code::QueueFull => Wait("what waits to be sent fills the memory for it; the brokers take less than comes"),
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve => {
            Wait("no broker can be reached; check that they run, and log: kafka://…")
        }
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut => Wait("the broker did not answer in time"),
        _ => Wait("it may pass by itself"),
    }
}

/// The code's words, as Kafka's own tools say them.
fn name(code: Code) -> String {
    code.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_person_can_mend_stops_and_the_rest_waits() {
        for code in [Code::TopicAuthorizationFailed, Code::MessageSizeTooLarge, Code::FencedInstanceId, Code::Authentication] {
            assert!(matches!(of("appending to", "t", code), LogError::Fatal(_)), "{code:?}");
        }
        for code in [Code::MessageTimedOut, Code::NotEnoughReplicas, Code::UnknownTopicOrPartition, Code::QueueFull] {
            let said = of("appending to", "t", code);
            assert!(matches!(&said, LogError::Unavailable(text) if text.contains("appending to t")), "{said:?}");
        }
    }
}
