// Adam and AdamW, as torch's fused kernels compute them.
#pragma once

#include "vectors.h"

struct Adam {
    float beta1_rest, beta2, beta2_rest;  // 1 - beta1, beta2, 1 - beta2
    float coupled_decay;                  // Adam: added to the gradient, times the weight
    float kept;                           // AdamW: factor on the weight before the step
    float step_size, root_factor, epsilon;

    // `count`: this step's number, from 1.
    Adam(double rate, double decay, double beta1, double beta2, double epsilon, bool is_decoupled, double count)
        : beta1_rest(float(1.0 - beta1)),
          beta2(float(beta2)),
          beta2_rest(float(1.0 - beta2)),
          coupled_decay(is_decoupled ? 0.0f : float(decay)),
          kept(is_decoupled ? float(1.0 - rate * decay) : 1.0f),
          step_size(float(rate / (1.0 - std::pow(beta1, count)))),
          root_factor(float(1.0 / std::sqrt(1.0 - std::pow(beta2, count)))),
          epsilon(float(epsilon)) {}
};

static inline void update(const Adam& adam, Vector gradient, Vector& weight, Vector& average, Vector& square) {
    gradient += weight * adam.coupled_decay;
    weight *= adam.kept;
    average += (gradient - average) * adam.beta1_rest;
    square = square * adam.beta2 + gradient * gradient * adam.beta2_rest;
    weight -= average * adam.step_size / (square_root(square) * adam.root_factor + adam.epsilon);
}

// Updates `count` numbers that lie one after another.
static void update(const Adam& adam, const float* gradient, float* weight, float* average, float* square, int count) {
    int place = 0;
    for (; place + kLanes <= count; place += kLanes) {
        Vector w = load(weight + place), m = load(average + place), v = load(square + place);
        update(adam, load(gradient + place), w, m, v);
        store(weight + place, w);
        store(average + place, m);
        store(square + place, v);
    }
    if (place == count) return;
    const size_t rest = size_t(count - place) * sizeof(float);
    Vector g{}, w{}, m{}, v{};
    std::memcpy(&g, gradient + place, rest);
    std::memcpy(&w, weight + place, rest);
    std::memcpy(&m, average + place, rest);
    std::memcpy(&v, square + place, rest);
    update(adam, g, w, m, v);
    std::memcpy(weight + place, &w, rest);
    std::memcpy(average + place, &m, rest);
    std::memcpy(square + place, &v, rest);
}
