//! Changing a field and noting its name, so that an event says exactly what changed. Must not know
//! whose field it is.

/// Sets `field` to `value` and notes `name` in `changed`, if that changes anything.
pub(super) fn set<T: PartialEq + Clone>(
    field: &mut T,
    value: &T,
    name: &'static str,
    changed: &mut Vec<&'static str>,
) {
    if field != value {
        field.clone_from(value);
        changed.push(name);
    }
}
