/**
 * What other libraries' devices complain of. A binding beyond the limits that a library asked for leaves its result empty, and
 * only the device says why.
 */
const heard: string[] = [];

/** Listens to every device that is opened from now on. */
export function listenToDevices(): void {
  const { prototype } = GPUAdapter;
  const { requestDevice } = prototype;
  prototype.requestDevice = async function (...given) {
    const device = await requestDevice.apply(this, given);
    device.addEventListener("uncapturederror", ({ error }) => {
      heard.push(error.message.split("\n")[0]!);
    });
    return device;
  };
}

/** What was heard since the last call. */
export const takeErrors = (): string[] => heard.splice(0);
