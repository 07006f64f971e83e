/// Clips every component of an action in policy units to `[-1, 1]`; a NaN becomes -1.
///
/// Every [`Environment`](crate::Environment) does so before it scales the action to its motors.
///
/// ```
/// let clipped = mbmpo_core::clip_action(&[0.5, -3.0, f32::INFINITY, f32::NAN]);
/// assert_eq!(clipped, [0.5, -1.0, 1.0, -1.0]);
/// ```
#[allow(clippy::manual_clamp, reason = "`clamp` would keep a NaN")]
pub fn clip_action(action: &[f32]) -> Vec<f32> {
    action.iter().map(|x| x.max(-1.0).min(1.0)).collect()
}
