use crate::cpu::{Activations, CpuMlp};
use crate::{BoundMlp, GaussianMlp};
use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::{Actor, Result, Stream, host, is_cpu};
use rand::RngExt;
use rand_distr::StandardNormal;

/// A Gaussian policy that acts in many episodes side by side: on slices on the CPU, on tensors
/// elsewhere. It is for one batch of rollouts: the noise that it has drawn ahead belongs to the stream
/// of that batch.
#[derive(Debug)]
pub struct GaussianActor {
    mean: Mean,
    /// σ `[1, action]`.
    std: Tensor<2>,
    device: Device,
    /// Steps for which noise is drawn at once.
    ahead: usize,
    /// `[ahead * rows, action]`
    noise: Option<Tensor<2>>,
    /// Steps of `noise` that are used up.
    used: usize,
}

#[derive(Debug)]
enum Mean {
    Tensors(Box<BoundMlp>),
    Cpu(Box<(CpuMlp, Activations)>),
}

impl GaussianActor {
    /// The policy of this architecture with the parameters `theta`. Noise is drawn for `ahead`
    /// steps at once, so that it reaches a device in one transfer.
    pub fn new(network: &GaussianMlp, theta: &[f64], ahead: usize, device: &Device) -> Self {
        let theta: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
        let (mean, log_std) = if is_cpu(device) {
            let policy = CpuMlp::new(network, &theta);
            let log_std = policy.log_std().to_vec();
            let data = TensorData::new(log_std, [1, network.action_dim()]);
            let mean = Mean::Cpu(Box::new((policy, Activations::default())));
            (mean, Tensor::from_data(data, device))
        } else {
            let policy = network.bind(&Tensor::from_data(TensorData::from(&theta[..]), device));
            let log_std = policy.log_std.clone();
            (Mean::Tensors(Box::new(policy)), log_std)
        };
        Self {
            mean,
            std: log_std.exp(),
            device: device.clone(),
            ahead: ahead.max(1),
            noise: None,
            used: 0,
        }
    }

    /// Standard normal noise for the next step `[rows, action]`.
    fn noise(&mut self, rows: usize, stream: &mut Stream) -> Tensor<2> {
        let [_, dim] = self.std.dims();
        let noise = match self.noise.take() {
            Some(noise) if self.used < self.ahead && noise.dims()[0] == self.ahead * rows => noise,
            _ => {
                let count = self.ahead * rows * dim;
                let noise: Vec<f32> = (0..count).map(|_| stream.sample(StandardNormal)).collect();
                self.used = 0;
                let data = TensorData::new(noise, [self.ahead * rows, dim]);
                Tensor::from_data(data, &self.device)
            }
        };
        let draw = noise.clone().narrow(0, self.used * rows, rows);
        self.noise = Some(noise);
        self.used += 1;
        draw
    }
}

impl Actor for GaussianActor {
    /// a = μ(s) + σ z
    fn act(&mut self, observations: Tensor<2>, noise: &mut Stream) -> Result<Tensor<2>> {
        let [rows, _] = observations.dims();
        let draw = self.noise(rows, noise);
        let mean = match &mut self.mean {
            Mean::Tensors(policy) => policy.mean(observations),
            Mean::Cpu(network) => {
                let (policy, activations) = network.as_mut();
                let mean = policy.mean(&host(observations)?, activations).to_vec();
                let shape = [rows, policy.log_std().len()];
                Tensor::from_data(TensorData::new(mean, shape), &self.device)
            }
        };
        Ok(mean + draw * self.std.clone())
    }
}
