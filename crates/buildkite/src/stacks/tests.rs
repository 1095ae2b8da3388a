use super::*;

#[test]
fn texts_are_cut_between_characters() {
    assert_eq!(cut_bytes("aé", 2), "a");
    assert_eq!(cut_bytes("aé", 3), "aé");
    assert_eq!(cut_chars("aéé", 2), "aé");
    assert_eq!(cut_chars("a", 2), "a");
}

#[test]
fn batches_and_times_out_of_bounds_are_refused_before_they_are_sent() {
    let many = vec![JobId(Uuid::nil()); MAX_BATCH + 1];
    assert!(matches!(batch(Scope::States, &many), Err(Error::Invalid { .. })));
    assert!(whole_seconds(Scope::Reserve, Duration::from_millis(900), MAX_RESERVATION).is_err());
    assert!(
        whole_seconds(
            Scope::Reserve,
            MAX_RESERVATION + Duration::from_nanos(1),
            MAX_RESERVATION
        )
        .is_err()
    );
    assert_eq!(
        whole_seconds(Scope::Reserve, MAX_RESERVATION, MAX_RESERVATION).ok(),
        Some(3600)
    );
}
