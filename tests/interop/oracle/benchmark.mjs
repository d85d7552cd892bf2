// Timing inside this process, so that the pipe and JSON cost nothing of what is measured.
//
// A benchmark is opened once (its devices and sessions made), then asked for short repetitions, between which the
// caller can run the implementation that it compares with. Only libsignal's calls are inside the timed part: bytes in,
// bytes out, and the stores in memory: records held as objects, or read and written as bytes for every message.

import { randomBytes } from 'node:crypto';

import { Device } from './device.mjs';
import { releaseNamed } from './releases.mjs';
import { numberField, optional, textField, UsageError } from './requests.mjs';

const DISTRIBUTION_ID = '6f1d8ac0-93a1-4a0b-9d6c-3a1f4be2c7d5';

let devicesMade = 0;

/** What a benchmark runs on: the release, how its stores hold records, and the size of a text in bytes. */
class Setting {
  constructor(release, serialized, size) {
    this.release = release;
    this.serialized = serialized;
    this.size = size;
  }

  text() {
    return randomBytes(this.size);
  }

  texts(count) {
    return Array.from({ length: count }, () => this.text());
  }

  newDevice() {
    devicesMade += 1;
    const name = `00000000-0000-4000-8000-${devicesMade.toString(16).padStart(12, '0')}`;
    const registrationId = devicesMade & 0x3fff; // 14 bits
    return new Device(this.release, { name, deviceId: 1, registrationId, serialized: this.serialized });
  }

  /** Alice, bob, and the bundle that she fetched of him. */
  async strangers() {
    const [alice, bob] = [this.newDevice(), this.newDevice()];
    return { alice, bob, bundle: await bundleOf(bob) };
  }

  /** Two devices whose session both sides have used. */
  async pair() {
    const { alice, bob, bundle } = await this.strangers();
    await this.release.processBundle(alice, bundle, bob.address);
    await readFirst(bob, alice, await send(alice, bob, this.text()));
    await read(alice, bob, await send(bob, alice, this.text()));
    return [alice, bob];
  }

  /** A sender key made by the first device and known to the second. */
  async group() {
    const [alice, bob] = [this.newDevice(), this.newDevice()];
    const { lib } = this.release;
    const made = await lib.SenderKeyDistributionMessage.create(alice.address, DISTRIBUTION_ID, alice.senderKeys);
    const received = lib.SenderKeyDistributionMessage.deserialize(made.serialize());
    await lib.processSenderKeyDistributionMessage(alice.address, received, bob.senderKeys);
    return [alice, bob];
  }
}

/** The public side of one fresh one-time prekey of each kind. */
async function bundleOf(device) {
  const { lib } = device;
  const signed = await device.signedPreKey();
  const oneTime = await device.oneTimePreKey();
  const kem = await device.kyberPreKey(false);
  return lib.PreKeyBundle.new(
    device.registrationId,
    device.deviceId,
    oneTime.id(),
    oneTime.publicKey(),
    signed.id(),
    signed.publicKey(),
    signed.signature(),
    device.publicKey,
    kem.id(),
    kem.publicKey(),
    kem.signature(),
  );
}

async function send(from, to, plaintext) {
  const message = await from.release.encrypt(from, plaintext, to.address);
  return message.serialize();
}

function read(by, from, body) {
  return by.release.decrypt(by, by.lib.SignalMessage.deserialize(body), from.address);
}

function readFirst(by, from, body) {
  return by.release.decryptPreKey(by, by.lib.PreKeySignalMessage.deserialize(body), from.address);
}

async function groupSend(alice, plaintext) {
  const message = await alice.lib.groupEncrypt(alice.address, DISTRIBUTION_ID, alice.senderKeys, plaintext);
  return message.serialize();
}

/** Nanoseconds for *action* on each of *inputs*, in order. */
async function timed(inputs, action) {
  const start = process.hrtime.bigint();
  for (const input of inputs) {
    await action(input);
  }
  return Number(process.hrtime.bigint() - start);
}

/** Each value of *make*, made one after the other. */
async function series(count, make) {
  const made = [];
  for (let i = 0; i < count; i += 1) {
    made.push(await make());
  }
  return made;
}

// Each opens a benchmark and returns its repetition: (count) => nanoseconds for *count* of what its name says.
const benchmarks = {
  /** Alice encrypts; nobody answers. */
  async encrypt(setting) {
    const [alice, bob] = await setting.pair();
    return (count) => timed(setting.texts(count), (text) => send(alice, bob, text));
  },

  /** Bob decrypts what alice sent in order; the encryption is not timed. */
  async decrypt(setting) {
    const [alice, bob] = await setting.pair();
    return async (count) => {
      const bodies = await series(count, () => send(alice, bob, setting.text()));
      return timed(bodies, (body) => read(bob, alice, body));
    };
  },

  /** Alice encrypts and bob decrypts, one way. */
  async encrypt_decrypt(setting) {
    const [alice, bob] = await setting.pair();
    return (count) => timed(setting.texts(count), async (text) => read(bob, alice, await send(alice, bob, text)));
  },

  /** One message sent and read, the next in the other direction: a Diffie-Hellman step for each. */
  async ping_pong(setting) {
    let [sender, receiver] = await setting.pair();
    return (count) =>
      timed(setting.texts(count), async (text) => {
        await read(receiver, sender, await send(sender, receiver, text));
        [sender, receiver] = [receiver, sender];
      });
  },

  /** A parsed bundle processed and the first message encrypted. */
  async initiate(setting) {
    const text = setting.text();
    return async (count) =>
      timed(await series(count, () => setting.strangers()), async ({ alice, bob, bundle }) => {
        await setting.release.processBundle(alice, bundle, bob.address);
        await send(alice, bob, text);
      });
  },

  /** A first message decrypted: handshake included, one-time prekeys consumed. */
  async accept(setting) {
    const text = setting.text();
    return async (count) => {
      const firsts = await series(count, async () => {
        const { alice, bob, bundle } = await setting.strangers();
        await setting.release.processBundle(alice, bundle, bob.address);
        return { alice, bob, body: await send(alice, bob, text) };
      });
      return timed(firsts, ({ alice, bob, body }) => readFirst(bob, alice, body));
    };
  },

  async sender_key_encrypt(setting) {
    const [alice] = await setting.group();
    return (count) => timed(setting.texts(count), (text) => groupSend(alice, text));
  },

  async sender_key_decrypt(setting) {
    const [alice, bob] = await setting.group();
    return async (count) => {
      const bodies = await series(count, () => groupSend(alice, setting.text()));
      return timed(bodies, (body) => bob.lib.groupDecrypt(alice.address, bob.senderKeys, body));
    };
  },
};

const open = new Map();

async function benchmarkOpen(request) {
  const handle = textField(request, 'benchmark');
  const name = textField(request, 'name');
  if (open.has(handle)) {
    throw new UsageError(`benchmark ${handle} is open already`);
  }
  if (!Object.hasOwn(benchmarks, name)) {
    throw new UsageError(`no benchmark ${name}: there are ${Object.keys(benchmarks).join(', ')}`);
  }
  const release = releaseNamed(optional(textField, request, 'release'));
  const setting = new Setting(release, request.serialized === true, numberField(request, 'size'));
  open.set(handle, await benchmarks[name](setting));
  return {};
}

async function benchmarkRun(request) {
  const repetition = open.get(textField(request, 'benchmark'));
  if (repetition === undefined) {
    throw new UsageError(`no open benchmark ${request.benchmark}`);
  }
  const count = numberField(request, 'count');
  const nanoseconds = await series(optional(numberField, request, 'repetitions') ?? 1, () => repetition(count));
  return { nanoseconds };
}

function benchmarkClose(request) {
  return { closed: open.delete(textField(request, 'benchmark')) };
}

export const benchmarkOperations = {
  benchmark_open: benchmarkOpen,
  benchmark_run: benchmarkRun,
  benchmark_close: benchmarkClose,
};
