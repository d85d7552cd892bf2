// A device: an identity and the in-memory stores in which libsignal keeps everything else.
//
// Session and sender key records are held as libsignal's own objects, which costs least per message, or (serialized)
// as bytes that are read and written for every message, as an application with a database does it.

/**
 * A store was asked for something that it does not have, or refuses; *code* says what.
 *
 * libsignal turns what a store throws into a Generic error with a text, so the stores also leave it with the device.
 */
export class StoreError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

function keyOf(address) {
  return `${address.name()}.${address.deviceId()}`;
}

/** Keys by id; a key that is not there is refused with *code*. */
class Records {
  byId = new Map();
  constructor(refuse, code) {
    this.refuse = refuse;
    this.code = code;
  }
  set(id, record) {
    this.byId.set(id, record);
  }
  get(id) {
    return this.byId.get(id) ?? this.refuse(this.code, `no key with id ${id}`);
  }
  delete(id) {
    this.byId.delete(id);
  }
  ids() {
    return [...this.byId.keys()];
  }
}

/** Records of one class by address: as objects, or as bytes. */
class Shelf {
  byKey = new Map();
  constructor(recordClass, serialized) {
    this.recordClass = recordClass;
    this.serialized = serialized;
  }
  put(key, record) {
    this.byKey.set(key, this.serialized ? record.serialize() : record);
  }
  find(key) {
    const held = this.byKey.get(key);
    return held !== undefined && this.serialized ? this.recordClass.deserialize(held) : held;
  }
  remove(key) {
    return this.byKey.delete(key);
  }
}

/** The six store classes on top of one release's abstract ones. */
function storeClasses(release) {
  const { lib } = release;

  class Sessions extends lib.SessionStore {
    constructor(refuse, serialized) {
      super();
      this.refuse = refuse;
      this.shelf = new Shelf(lib.SessionRecord, serialized);
    }
    async saveSession(address, record) {
      this.put(address, record);
    }
    async getSession(address) {
      return this.find(address) ?? null;
    }
    async getExistingSessions(addresses) {
      return addresses.map(
        (address) => this.find(address) ?? this.refuse('SessionNotFound', `no session with ${keyOf(address)}`),
      );
    }
    find(address) {
      return this.shelf.find(keyOf(address));
    }
    put(address, record) {
      this.shelf.put(keyOf(address), record);
    }
    remove(address) {
      return this.shelf.remove(keyOf(address));
    }
  }

  /** Trust on first use: the first key seen for an address is kept until save or forget is called from outside. */
  class Identities extends lib.IdentityKeyStore {
    known = new Map();
    constructor(privateKey, registrationId) {
      super();
      this.privateKey = privateKey;
      this.registrationId = registrationId;
    }
    async getIdentityKey() {
      return this.privateKey;
    }
    async getLocalRegistrationId() {
      return this.registrationId;
    }
    async saveIdentity(address, key) {
      const before = this.known.get(keyOf(address));
      this.known.set(keyOf(address), key);
      return release.identityChange(before !== undefined && !sameKey(before, key));
    }
    async isTrustedIdentity(address, key, _direction) {
      const known = this.known.get(keyOf(address));
      return known === undefined || sameKey(known, key);
    }
    async getIdentity(address) {
      return this.known.get(keyOf(address)) ?? null;
    }
    find(address) {
      return this.known.get(keyOf(address));
    }
    put(address, key) {
      this.known.set(keyOf(address), key);
    }
    forget(address) {
      return this.known.delete(keyOf(address));
    }
  }

  class PreKeys extends lib.PreKeyStore {
    constructor(refuse) {
      super();
      this.records = new Records(refuse, 'PreKeyNotFound');
    }
    async savePreKey(id, record) {
      this.records.set(id, record);
    }
    async getPreKey(id) {
      return this.records.get(id);
    }
    async removePreKey(id) {
      this.records.delete(id);
    }
  }

  class SignedPreKeys extends lib.SignedPreKeyStore {
    constructor(refuse) {
      super();
      this.records = new Records(refuse, 'SignedPreKeyNotFound');
    }
    async saveSignedPreKey(id, record) {
      this.records.set(id, record);
    }
    async getSignedPreKey(id) {
      return this.records.get(id);
    }
  }

  /** One-time keys go when used; a last-resort key stays, but opens one first message per base key only. */
  class KyberPreKeys extends lib.KyberPreKeyStore {
    lastResort = new Set();
    usedBaseKeys = new Set();
    constructor(refuse) {
      super();
      this.refuse = refuse;
      this.records = new Records(refuse, 'KyberPreKeyNotFound');
    }
    async saveKyberPreKey(id, record) {
      this.records.set(id, record);
    }
    async getKyberPreKey(id) {
      return this.records.get(id);
    }
    async markKyberPreKeyUsed(id, signedPreKeyId, baseKey) {
      if (!this.lastResort.has(id)) {
        this.records.delete(id);
        return;
      }
      if (baseKey === undefined) {
        return; // The older release tells the id only.
      }
      const use = `${id}.${signedPreKeyId}.${Buffer.from(baseKey.serialize()).toString('hex')}`;
      if (this.usedBaseKeys.has(use)) {
        this.refuse('ReusedBaseKey', 'reused base key');
      }
      this.usedBaseKeys.add(use);
    }
  }

  class SenderKeys extends lib.SenderKeyStore {
    constructor(serialized) {
      super();
      this.shelf = new Shelf(lib.SenderKeyRecord, serialized);
    }
    async saveSenderKey(sender, distributionId, record) {
      this.put(sender, distributionId, record);
    }
    async getSenderKey(sender, distributionId) {
      return this.find(sender, distributionId) ?? null;
    }
    find(sender, distributionId) {
      return this.shelf.find(`${keyOf(sender)}.${distributionId}`);
    }
    put(sender, distributionId, record) {
      this.shelf.put(`${keyOf(sender)}.${distributionId}`, record);
    }
    remove(sender, distributionId) {
      return this.shelf.remove(`${keyOf(sender)}.${distributionId}`);
    }
  }

  return { Sessions, Identities, PreKeys, SignedPreKeys, KyberPreKeys, SenderKeys };
}

// PublicKey.compare became equals between the two releases; the serialised form is the same in both.
function sameKey(one, other) {
  return Buffer.compare(one.serialize(), other.serialize()) === 0;
}

const classesByVersion = new Map();

function storesOf(release) {
  let classes = classesByVersion.get(release.version);
  if (classes === undefined) {
    classes = storeClasses(release);
    classesByVersion.set(release.version, classes);
  }
  return classes;
}

export class Device {
  constructor(release, { name, deviceId, identityPrivateKey, registrationId, serialized = false }) {
    const { lib } = release;
    const stores = storesOf(release);
    this.release = release;
    this.lib = lib;
    this.address = lib.ProtocolAddress.new(name, deviceId);
    this.deviceId = deviceId;
    this.privateKey =
      identityPrivateKey === undefined ? lib.PrivateKey.generate() : lib.PrivateKey.deserialize(identityPrivateKey);
    this.publicKey = this.privateKey.getPublicKey();
    this.registrationId = registrationId;
    this.refusal = undefined;
    const refuse = (code, message) => {
      this.refusal = new StoreError(code, message);
      throw this.refusal;
    };
    this.sessions = new stores.Sessions(refuse, serialized);
    this.identities = new stores.Identities(this.privateKey, registrationId);
    this.preKeys = new stores.PreKeys(refuse);
    this.signedPreKeys = new stores.SignedPreKeys(refuse);
    this.kyberPreKeys = new stores.KyberPreKeys(refuse);
    this.senderKeys = new stores.SenderKeys(serialized);
    this.nextKeyId = 1;
    this.currentSignedPreKeyId = undefined;
    this.lastResortKyberPreKeyId = undefined;
  }

  /** Run *action*, a call into libsignal; if one of the stores refused, that is what is thrown. */
  async guarded(action) {
    this.refusal = undefined;
    try {
      return await action();
    } catch (error) {
      throw this.refusal ?? error;
    }
  }

  remote(name, deviceId) {
    return this.lib.ProtocolAddress.new(name, deviceId);
  }

  takeKeyId(given) {
    const id = given ?? this.nextKeyId;
    this.nextKeyId = Math.max(this.nextKeyId, id + 1);
    return id;
  }

  /** The signed prekey in use; a fresh one if there is none yet or *id* names a new one. */
  async signedPreKey(id) {
    if (id === undefined && this.currentSignedPreKeyId !== undefined) {
      return this.signedPreKeys.getSignedPreKey(this.currentSignedPreKeyId);
    }
    const keyId = this.takeKeyId(id);
    const privateKey = this.lib.PrivateKey.generate();
    const publicKey = privateKey.getPublicKey();
    const signature = this.privateKey.sign(publicKey.serialize());
    const record = this.lib.SignedPreKeyRecord.new(keyId, Date.now(), publicKey, privateKey, signature);
    await this.signedPreKeys.saveSignedPreKey(keyId, record);
    this.currentSignedPreKeyId = keyId;
    return record;
  }

  async oneTimePreKey(id) {
    const keyId = this.takeKeyId(id);
    const privateKey = this.lib.PrivateKey.generate();
    const record = this.lib.PreKeyRecord.new(keyId, privateKey.getPublicKey(), privateKey);
    await this.preKeys.savePreKey(keyId, record);
    return record;
  }

  /** A KEM prekey: a fresh one, except that the last-resort key in use is given again until *id* names a new one. */
  async kyberPreKey(lastResort, id) {
    if (lastResort && id === undefined && this.lastResortKyberPreKeyId !== undefined) {
      return this.kyberPreKeys.getKyberPreKey(this.lastResortKyberPreKeyId);
    }
    const keyId = this.takeKeyId(id);
    const pair = this.lib.KEMKeyPair.generate();
    const signature = this.privateKey.sign(pair.getPublicKey().serialize());
    const record = this.lib.KyberPreKeyRecord.new(keyId, Date.now(), pair, signature);
    await this.kyberPreKeys.saveKyberPreKey(keyId, record);
    if (lastResort) {
      this.kyberPreKeys.lastResort.add(keyId);
      this.lastResortKyberPreKeyId = keyId;
    }
    return record;
  }
}
