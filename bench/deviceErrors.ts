/**
 * Collects the uncaptured errors of other libraries' devices. A library that binds more than the limits it requested gets an empty
 * result, and only the device says why.
 */
const messages: string[] = [];

/** Listens to every device that is opened from now on. */
export function listenToDevices(): void {
  const { prototype } = GPUAdapter;
  const { requestDevice } = prototype;
  prototype.requestDevice = async function (...options) {
    const device = await requestDevice.apply(this, options);
    device.addEventListener("uncapturederror", ({ error }) => {
      messages.push(error.message.split("\n")[0]!);
    });
    return device;
  };
}

/** The errors since the last call. */
export const takeErrors = (): string[] => messages.splice(0);
